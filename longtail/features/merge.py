"""Parts of the features that tasks computed side by side, put together."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import new_artifact, open_artifact, write_array
from longtail.errors import InputError
from longtail.features import shards
from longtail.features.extraction import EXAMPLE, SCHEMA, SCHEMA_VERSION

_BLOCK_ROWS = 65536


def merge_shards(parts: Sequence[Path], out: Path) -> None:
    """Write the features that `extract` would have written without shards.

    Args:
        parts: The shards' artifacts, in any order.
        out: Where the artifact appears.

    Raises:
        InputError: If a shard is missing, is there twice, or is of other features.
    """
    opened = sorted(((open_artifact(part, shards.SCHEMA, shards.SCHEMA_VERSION), part) for part in parts), key=_place)
    fields = _common(opened)
    folders = [part for _, part in opened]
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        for name in (file.relative_to(folders[0]) for file in sorted(folders[0].rglob("*.npy"))):
            (folder / name).parent.mkdir(exist_ok=True)
            arrays = [np.load(part / name, mmap_mode="r", allow_pickle=False) for part in folders]
            if str(name) == EXAMPLE:
                np.save(folder / name, arrays[0])
                continue
            shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
            write_array(folder / name, shape, arrays[0].dtype, _blocks(arrays))


def _place(entry: tuple[dict[str, Any], Path]) -> list[int]:
    return list(entry[0]["shard"])


def _common(opened: Sequence[tuple[dict[str, Any], Path]]) -> dict[str, Any]:
    """Return the fields of the whole, after checking that the shards are its parts and all of them."""
    places = [manifest["shard"] for manifest, _ in opened]
    count = places[0][1]
    if places != [[index, count] for index in range(count)]:
        found = ", ".join(f"{index} of {of}" for index, of in places)
        raise InputError(f"the shards are {found}: give each of 0 to {count - 1} of {count} once, of the same run")
    own = {"schema", "schema_version", "files", "shard"}
    fields = [{name: value for name, value in manifest.items() if name not in own} for manifest, _ in opened]
    for other, (_, part) in zip(fields[1:], opened[1:], strict=True):
        if other != fields[0]:
            raise InputError(f"{part} is a shard of other features than {opened[0][1]}: give shards of the same run")
    return fields[0]


def _blocks(arrays: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the rows of memory-mapped arrays a few at a time."""
    for array in arrays:
        for start in range(0, len(array), _BLOCK_ROWS):
            yield array[start : start + _BLOCK_ROWS]
