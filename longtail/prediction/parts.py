"""The output of a long prediction: parts in a folder beside it, then one Parquet file, whole or not there.

Each part is a Parquet file that is renamed when it is complete, so whoever goes on counts those there. The finished
file has one row group a part, and says in its metadata what it was made from.
"""

import glob
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtail.errors import InputError

METADATA = b"longtail.prediction"
_KEY_CHARACTERS = 16
_SHOWN = 20


@dataclass(frozen=True)
class Finished:
    """What a finished file says of itself.

    Attributes:
        key: SHA-256 of all that its rows depend on.
        rows: Inputs in all.
        unreadable: How many of them could not be read.
        examples: The first of these, with the reason.
    """

    key: str
    rows: int
    unreadable: int
    examples: list[str] = field(default_factory=list)


class Parts:
    """The parts of one output.

    Args:
        out: The file that is to appear.
        key: SHA-256 of all that its rows depend on; parts of another key are removed.
    """

    def __init__(self, out: Path, key: str) -> None:
        self._out, self._key = out, key
        self._folder = out.with_name(f".{out.name}.{key[:_KEY_CHARACTERS]}")
        for leftover in out.parent.glob(f".{glob.escape(out.name)}.*"):
            if leftover != self._folder and leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)

    def count(self) -> int:
        """Return how many parts are there, from the first on."""
        count = 0
        while self._path(count).is_file():
            count += 1
        return count

    def write(self, number: int, columns: dict[str, Any], schema: Any) -> None:
        """Write a part; a reader sees all of it or nothing.

        Args:
            number: From 0 on.
            columns: Values by column.
            schema: Arrow schema.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._folder.mkdir(exist_ok=True)
        path = self._path(number)
        written = path.with_suffix(".writing")
        pq.write_table(pa.table(columns, schema=schema), written)
        _sync(written)
        os.replace(written, path)

    def finish(self, schema: Any) -> Finished:
        """Put all parts into the output file and remove them.

        Args:
            schema: Arrow schema of the parts.

        Returns:
            What the file says of itself.
        """
        import pyarrow.parquet as pq

        written = self._folder / "whole.writing"
        rows = unreadable = 0
        examples: list[str] = []
        with pq.ParquetWriter(written, schema) as writer:
            for number in range(self.count()):
                table = pq.read_table(self._path(number))
                writer.write_table(table, row_group_size=max(1, len(table)))
                rows += len(table)
                bad = table.filter(table["error"].is_valid())
                unreadable += len(bad)
                examples += _named(bad.slice(0, _SHOWN - len(examples)))
            finished = Finished(self._key, rows, unreadable, examples)
            writer.add_key_value_metadata({METADATA.decode(): json.dumps(vars(finished), sort_keys=True)})
        _sync(written)
        os.replace(written, self._out)
        shutil.rmtree(self._folder)
        return finished

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.parquet"


def finished(out: Path) -> Finished | None:
    """Return what a file says of itself; None if there is none.

    Raises:
        InputError: If something else is there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not os.path.lexists(out):
        return None
    try:
        found = pq.read_metadata(out).metadata or {}
        return Finished(**json.loads(found[METADATA]))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        raise InputError(f"{out} is there and no file of predictions: give another --out, or remove it") from None


def _named(bad: Any) -> list[str]:
    """Return what names unreadable inputs, each with the reason."""
    columns: Sequence[str] = [name for name in ("path", "row") if name in bad.column_names]
    return [
        f"{' row '.join(str(row[name]) for name in columns)} {row['error']}"
        for row in bad.select([*columns, "error"]).to_pylist()
    ]


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
