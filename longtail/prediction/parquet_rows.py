"""Rows of Parquet files, on this machine or in a store, read on from any row; a store is asked for what is needed."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail.data.object_store import StoredObject, read
from longtail.errors import InputError

BUFFER_BYTES = 2**18
"""Read ahead in each column; without a bound a row group is read whole, and may be the whole file."""
STORED_BUFFER_BYTES = 2**23
"""The same where each read is a request."""


class StoredFile(io.RawIOBase):
    """An object of a store as a file: each read is a request for a range of it.

    Args:
        stored: The object.
        client: Of its store.
    """

    def __init__(self, stored: StoredObject, client: Any) -> None:
        super().__init__()
        self._stored, self._client, self._position = stored, client, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Return the offset that the next read begins at from now on."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._stored.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size` of them unless it is negative."""
        stop = self._stored.size if size < 0 else min(self._position + size, self._stored.size)
        if stop <= self._position:
            return b""
        data = read(self._stored, self._client, self._position, stop)
        self._position += len(data)
        return data


@dataclass(frozen=True)
class _Group:
    """A row group: its file, its number there, and its first row, there and among all rows."""

    name: str
    number: int
    first_in_file: int
    first: int
    rows: int


class ParquetRows:
    """The rows of several files, counted through in the order of their names.

    Args:
        files: Path or stored object by name.
        client: Of the store, if they are in one.

    Attributes:
        schema: Arrow schema of the first file.

    Raises:
        InputError: If a file is not a whole Parquet file.
    """

    def __init__(self, files: Mapping[str, Path | StoredObject], client: Any = None) -> None:
        self._files, self._client = dict(sorted(files.items())), client
        self._groups: list[_Group] = []
        self._count = 0
        self.schemas: dict[str, Any] = {}
        for name in self._files:
            file, in_file = self._open(name), 0
            self.schemas[name] = file.schema_arrow
            for number in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                self._groups.append(_Group(name, number, in_file, self._count, rows))
                in_file += rows
                self._count += rows

    def __len__(self) -> int:
        return self._count

    def places(self, start: int, stop: int) -> tuple[list[str], list[int]]:
        """Return file names, and the rows in those files, of the rows in [start, stop)."""
        names: list[str] = []
        rows: list[int] = []
        for group in self._groups:
            first, last = max(start, group.first), min(stop, group.first + group.rows)
            if first < last:
                names += [group.name] * (last - first)
                offset = group.first_in_file - group.first
                rows += range(first + offset, last + offset)
        return names, rows

    def batches(self, start: int, columns: Sequence[str], rows: int) -> Iterator[tuple[Any, str, int]]:
        """Yield record batches of at most `rows` rows from a row on, each with its file and first row there.

        Raises:
            InputError: If a file cannot be read.
        """
        opened, file = "", None
        for group in self._groups:
            if group.first + group.rows <= start:
                continue
            if opened != group.name:
                opened, file = group.name, self._open(group.name)
            row = group.first
            for batch in _read(file, group, columns, rows):
                skipped = min(max(start - row, 0), batch.num_rows)
                row += batch.num_rows
                if skipped < batch.num_rows:
                    kept = batch.slice(skipped)
                    yield kept, group.name, group.first_in_file + row - kept.num_rows - group.first

    def _open(self, name: str) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self._files[name]
        try:
            if isinstance(file, StoredObject):
                source = StoredFile(file, self._client)
                return pq.ParquetFile(source, buffer_size=STORED_BUFFER_BYTES, pre_buffer=False)
            return pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{name} is not a whole Parquet file ({str(error).partition(chr(10))[0]})") from None


def _read(file: Any, group: _Group, columns: Sequence[str], rows: int) -> Iterator[Any]:
    """Yield a row group in batches."""
    import pyarrow as pa

    try:
        yield from file.iter_batches(rows, row_groups=[group.number], columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{group.name} row group {group.number} cannot be read ({reason})") from None


def listed(files: Mapping[str, Path | StoredObject]) -> list[list[Any]]:
    """Return what tells files apart from others of the same names: ETag and size, or size and modification time."""
    found: list[list[Any]] = []
    for name, file in sorted(files.items()):
        if isinstance(file, StoredObject):
            found.append([name, file.etag, file.size])
        else:
            stat = file.stat()
            found.append([name, stat.st_size, stat.st_mtime_ns])
    return found
