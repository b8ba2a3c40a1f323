"""What is predicted: images in a folder, in Parquet files or in a store, or rows of features, read on from any of them.

A source is listed before anything is read; the listing tells whether it is still the same one.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from longtail.artifacts import sha256_json
from longtail.data.imagefolder import SUFFIXES
from longtail.data.object_store import StoredObject, is_url, list_all, read
from longtail.data.parquet import COLUMNS, image_leaf
from longtail.data.problems import listing
from longtail.errors import InputError
from longtail.prediction.parquet_rows import ParquetRows, listed
from longtail.storage.client import connect

PARQUET = ".parquet"
_ROWS_AT_ONCE = 64
Encoded = Callable[[], bytes]
"""Returns an image's bytes; raises `OSError` if it cannot be read."""
Files = Mapping[str, Path | StoredObject]


class Images(Protocol):
    """Encoded images in a fixed order.

    Attributes:
        digest: SHA-256 of the listing.
    """

    digest: str

    def __len__(self) -> int: ...

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return what names the images in [start, stop), by column: `path`, and `row` in a Parquet file."""

    def encoded(self, start: int) -> Iterator[Encoded]:
        """Yield what reads each image, from one on."""


class FileImages:
    """One image a file.

    Args:
        files: Path or stored object by path below the root.
        client: Of the store, if they are in one.
    """

    def __init__(self, files: Files, client: Any = None) -> None:
        self._names, self._files, self._client = sorted(files), files, client
        self.digest = sha256_json(listed(files))

    def __len__(self) -> int:
        return len(self._names)

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return the paths of the images in [start, stop)."""
        return {"path": self._names[start:stop]}

    def encoded(self, start: int) -> Iterator[Encoded]:
        """Yield what reads each image, from one on."""
        for name in self._names[start:]:
            file = self._files[name]
            yield partial(read, file, self._client) if isinstance(file, StoredObject) else file.read_bytes


class ParquetImages:
    """One image a row, in a column of encoded bytes.

    Args:
        files: Path or stored object by name.
        client: Of the store, if they are in one.

    Raises:
        InputError: If a file is damaged, or has no column of images under one of the customary names.
    """

    def __init__(self, files: Files, client: Any = None) -> None:
        self._rows = ParquetRows(files, client)
        self.digest = sha256_json(listed(files))
        leaves = {_leaf(schema, name) for name, schema in self._rows.schemas.items()}
        if len(leaves) > 1:
            raise InputError(f"{listing(list(files))} have other columns of images: give files with the same columns")
        (self._leaf,) = leaves

    def __len__(self) -> int:
        return len(self._rows)

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return the file and the row in it of the images in [start, stop)."""
        names, rows = self._rows.places(start, stop)
        return {"path": names, "row": rows}

    def encoded(self, start: int) -> Iterator[Encoded]:
        """Yield what reads each image, from one on."""
        for batch, _, _ in self._rows.batches(start, [self._leaf], _ROWS_AT_ONCE):
            for value in batch.column(0).to_pylist():
                yield partial(_bytes, value["bytes"] if isinstance(value, dict) else value)


def open_images(place: str) -> Images:
    """Return the images at a place.

    Args:
        place: A folder of images (also in folders below it) or of Parquet files, one Parquet file, or the `s3://`
            address of any of them.

    Raises:
        InputError: If it is missing or holds neither, or both.
    """
    files, client = list_place(place)
    images = {name: file for name, file in files.items() if name.lower().endswith(SUFFIXES)}
    tables = tables_in(files)
    if images and tables:
        raise InputError(f"{place} holds {len(images)} images and {len(tables)} Parquet files: give one kind alone")
    if tables:
        return ParquetImages(tables, client)
    if not images:
        raise InputError(f"{place} holds no images ({', '.join(SUFFIXES)}) and no Parquet file")
    return FileImages(images, client)


def list_place(place: str) -> tuple[dict[str, Path | StoredObject], Any]:
    """Return all files at a place by path below it, but hidden ones, and the client of their store if it is one.

    Raises:
        InputError: If there is no such place, or the store cannot be read.
    """
    if is_url(place):
        return _list_store(place)
    root = Path(place)
    if root.is_file():
        return {root.name: root}, None
    if not place or not root.is_dir():
        raise InputError(f"{place!r} does not exist: give a folder, a Parquet file, or an s3:// address of either")
    files: dict[str, Path | StoredObject] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in names:
            if name[0] != ".":
                path = Path(folder) / name
                files[path.relative_to(root).as_posix()] = path
    return files, None


def tables_in(files: Files) -> dict[str, Path | StoredObject]:
    """Return those of some files that are Parquet files."""
    return {name: file for name, file in files.items() if name.lower().endswith(PARQUET)}


def _list_store(url: str) -> tuple[dict[str, Path | StoredObject], Any]:
    client = connect(url)
    folder, _, name = url.rpartition("/") if url.lower().endswith(PARQUET) else (url.rstrip("/"), "", "")
    files = list_all(folder, client)
    if name:
        return {key: file for key, file in files.items() if key == name}, client
    return {key: file for key, file in files.items() if not any(part[0] == "." for part in key.split("/"))}, client


def _leaf(schema: Any, name: str) -> str:
    found = [column for column in COLUMNS["image_column"] if column in schema.names]
    if len(found) != 1:
        customary = ", ".join(COLUMNS["image_column"])
        raise InputError(
            f"{name} has {len(found) or 'no'} columns of images: one of {customary} must be there; it has "
            f"{listing(schema.names)}"
        )
    return image_leaf(schema, found[0], name)


def _bytes(value: bytes | None) -> bytes:
    if value is None:
        raise FileNotFoundError(0, "no image bytes")
    return value
