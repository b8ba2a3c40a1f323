"""Work that tasks do side by side, and how their parts become what one task would have written."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import new_artifact, open_artifact, write_array
from longtail.errors import InputError

SCHEMA = "longtail.shard"
SCHEMA_VERSION = 2

_OWN = {"schema", "schema_version", "files", "of", "shard"}
_BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of some work."""

    index: int  # from 0
    count: int

    @classmethod
    def of(cls, place: str, count: int, setting: str) -> "Shard":
        """Return the shard of a place in a compiled pipeline.

        Args:
            place: Its number, from 0.
            count: How many there are.
            setting: Which setting says so.

        Raises:
            InputError: If there are fewer.
        """
        if not 0 <= int(place) < count:
            raise InputError(f"shard {place} is none of {setting}={count}: compile the pipeline again")
        return cls(int(place), count)

    def pieces(self, count: int) -> range:
        """Return this shard's pieces of so many, which follow on those of the shard before."""
        start, stop = (count * place // self.count for place in (self.index, self.index + 1))
        return range(start, stop)

    def rows(self, images: int, batch_size: int) -> range:
        """Return the part's rows of a split of so many images: whole batches, but for the split's last one."""
        batches = self.pieces(-(-images // batch_size))
        return range(*(min(batch * batch_size, images) for batch in (batches.start, batches.stop)))


WHOLE = Shard(0, 1)


def new_part(
    path: Path, schema: str, version: int, fields: dict[str, Any], shard: Shard = WHOLE
) -> AbstractContextManager[Path]:
    """Return `longtail.artifacts.new_artifact` for the whole, or for a shard that `open_shards` alone reads."""
    if shard == WHOLE:
        return new_artifact(path, schema, version, fields)
    own = {"of": [schema, version], "shard": [shard.index, shard.count]}
    return new_artifact(path, SCHEMA, SCHEMA_VERSION, fields | own)


def open_shards(parts: Sequence[Path], schema: str, version: int) -> tuple[dict[str, Any], list[Path]]:
    """Return the fields of the whole and the folders in order, after checking that they are its parts and all of them.

    Args:
        parts: The shards, in any order.
        schema: Of the whole.
        version: Of the schema.

    Raises:
        InputError: If a shard is missing, is there twice, or is of another whole.
    """
    opened = [(open_artifact(part, SCHEMA, SCHEMA_VERSION), part) for part in parts]
    for manifest, part in opened:
        if manifest["of"] != [schema, version]:
            found = " ".join(map(str, manifest["of"]))
            raise InputError(f"{part} is a shard of {found}, not of {schema} {version}: give that step's shards")
    opened.sort(key=lambda entry: list(entry[0]["shard"]))
    places = [manifest["shard"] for manifest, _ in opened]
    count = places[0][1]
    if places != [[index, count] for index in range(count)]:
        found = ", ".join(f"{index} of {of}" for index, of in places)
        raise InputError(f"the shards are {found}: give each of 0 to {count - 1} of {count} once, of the same run")
    fields = [{name: value for name, value in manifest.items() if name not in _OWN} for manifest, _ in opened]
    for other, (_, part) in zip(fields[1:], opened[1:], strict=True):
        if other != fields[0]:
            raise InputError(f"{part} is a shard of another whole than {opened[0][1]}: give shards of the same run")
    return fields[0], [part for _, part in opened]


def join_array(folders: Sequence[Path], name: str, out: Path) -> None:
    """Write the rows of an array of every shard one after the other.

    Args:
        folders: The shards in order.
        name: Path of the array in each.
        out: File to write.
    """
    arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for folder in folders]
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    write_array(out, shape, arrays[0].dtype, _blocks(arrays))


def _blocks(arrays: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the rows of memory-mapped arrays a few at a time."""
    for array in arrays:
        for start in range(0, len(array), _BLOCK_ROWS):
            yield array[start : start + _BLOCK_ROWS]
