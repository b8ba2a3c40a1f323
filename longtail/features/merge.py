"""Parts of the features that tasks computed side by side, put together."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from longtail.artifacts import new_artifact
from longtail.features.extraction import EXAMPLE, SCHEMA, SCHEMA_VERSION
from longtail.shards import join_array, open_shards


def merge_shards(parts: Sequence[Path], out: Path) -> None:
    """Write the features that `extract` would have written without shards.

    Args:
        parts: The shards' artifacts, in any order.
        out: Where the artifact appears.

    Raises:
        InputError: If a shard is missing, is there twice, or is of other features.
    """
    fields, folders = open_shards(parts, SCHEMA, SCHEMA_VERSION)
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        for file in sorted(folders[0].rglob("*.npy")):
            name = file.relative_to(folders[0])
            (folder / name).parent.mkdir(exist_ok=True)
            if str(name) == EXAMPLE:
                shutil.copyfile(file, folder / name)
            else:
                join_array(folders, str(name), folder / name)
