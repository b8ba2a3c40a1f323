"""Parquet files in the layout of data hubs: one row an image, encoded bytes beside an integer label."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.config import DataConfig
from longtail.data import object_store
from longtail.data.images import decode
from longtail.data.tables import Image, ImageTable, Source
from longtail.errors import InputError

COLUMNS = {"image_column": ("img", "image", "images"), "label_column": ("label", "labels", "fine_label")}
SPLIT_PATTERNS = {"train": ("train*",), "test": ("test*", "validation*", "val*")}
DATA = "data/"
CACHE_BYTES = 256 * 2**20
"""Encoded images kept in memory for reading the next row of the same row group."""


def load(config: DataConfig) -> Source:
    """Return the data set in `train*.parquet` and `test*.parquet` files of a folder or its `data/` folder.

    Without the latter it has no test split.

    Classes are named by the label feature of the files' `huggingface` metadata, else by a text file beside them
    (`fine_labels.txt` for the column `fine_label`), else by their number.

    Raises:
        InputError: If files or columns are missing, or the label column does not hold whole numbers.
    """
    if not config.path:
        raise InputError("data.path is '': give the folder or s3:// address with the train*.parquet files")
    listed = list_files(config.path)
    splits = split_files(listed)
    if not splits:
        raise InputError(f"{config.path} holds no train*.parquet")
    files = object_store.fetch(listed) if object_store.is_url(config.path) else listed
    splits = split_files(files)
    first = next(iter(splits["train"].values()))
    images, column = _column(first, config, "image_column"), _column(first, config, "label_column")
    rows = {split: _Rows(paths, images, column) for split, paths in splits.items()}
    class_names = _class_names(files, first, column, rows["train"].labels)
    tables = {split: ImageTable(table.labels, table.name, table.read) for split, table in rows.items()}
    name = config.path.rstrip("/") if object_store.is_url(config.path) else str(Path(config.path).resolve())
    return Source(name.rpartition("/")[2], class_names, tables["train"], tables.get("test"))


def list_files(path: str) -> dict[str, Any]:
    """Return the splits' Parquet files and all text files at a path by name: local paths, or objects of a store.

    Parquet files of the folder itself hide its `data/` folder.
    """
    listed = object_store.list_objects(path, ("", DATA)) if object_store.is_url(path) else _scan(Path(path))
    own = {name: file for name, file in listed.items() if "/" not in name}
    files = {name.removeprefix(DATA): file for name, file in listed.items() if name.startswith(DATA)}
    if any(name.endswith(".parquet") for name in own):
        files = {}
    files |= own
    wanted = {name for split in split_files(files).values() for name in split}
    return {name: files[name] for name in sorted(files) if name in wanted or name.endswith(".txt")}


def split_files(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the Parquet files of `train` and, if there are any, of `test` by name; nothing without the former."""
    splits: dict[str, dict[str, Any]] = {}
    for split, patterns in SPLIT_PATTERNS.items():
        for pattern in patterns:
            found = {name: file for name, file in files.items() if fnmatch(name, f"{pattern}.parquet")}
            if found:
                splits[split] = found
                break
    return splits if "train" in splits else {}


def image_leaf(schema: Any, column: str, file: str) -> str:
    """Return the path of the encoded bytes: the column itself or its `bytes` field.

    Args:
        schema: Arrow schema of a file.
        column: Name of the column of images.
        file: The file's name.

    Raises:
        InputError: If there is no such column, or it holds something else.
    """
    import pyarrow as pa

    if column not in schema.names:
        raise _missing(column, "image_column", file, schema.names)
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{column}.bytes"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    raise InputError(f"{file} column {column!r} is {kind}: data.image_column must hold encoded image bytes")


def _scan(folder: Path) -> dict[str, Path]:
    root = folder.resolve()
    patterns = [f"{place}*{suffix}" for place in ("", DATA) for suffix in (".parquet", ".txt")]
    return {file.relative_to(root).as_posix(): file for pattern in patterns for file in root.glob(pattern)}


class _Rows:
    """The rows of one split's files, counted through."""

    def __init__(self, files: Mapping[str, Path], image_column: str, label_column: str) -> None:
        self._files = list(files.items())
        self._groups: list[tuple[int, int]] = []
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()
        starts, labels = [0], []
        for number, (name, path) in enumerate(self._files):
            file = _open(path)
            self._image_leaf = image_leaf(file.schema_arrow, image_column, name)
            labels.append(_read_labels(file, label_column, name))
            for group in range(file.metadata.num_row_groups):
                self._groups.append((number, group))
                starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        self._starts = np.array(starts)
        self._file_starts = np.cumsum([0, *map(len, labels)])
        self.labels: NDArray[np.int64] = np.concatenate(labels)

    def name(self, i: int) -> str:
        file = int(np.searchsorted(self._file_starts, i, side="right")) - 1
        return f"{self._files[file][0]} row {i - self._file_starts[file]}"

    def read(self, i: int) -> Image:
        group = int(np.searchsorted(self._starts, i, side="right")) - 1
        with self._lock:
            column = self._cache[group] if group in self._cache else self._load(group)
            self._cache.move_to_end(group)
        value = column[int(i - self._starts[group])].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise InputError("no image bytes")
        return decode(data)

    def _load(self, group: int) -> Any:
        """Return one row group's encoded images and drop the least used ones that no longer fit the cache."""
        import pyarrow as pa

        file, number = self._groups[group]
        try:
            column = _open(self._files[file][1]).read_row_group(number, columns=[self._image_leaf]).column(0)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"row group {number} cannot be read ({reason})") from None
        self._cache[group] = column
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return column


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a whole Parquet file ({str(error).partition(chr(10))[0]})") from None


def _column(path: Path, config: DataConfig, setting: str) -> str:
    """Return the column of a setting, which may have another customary name when only one such column exists."""
    columns, wanted = _open(path).schema_arrow.names, getattr(config, setting)
    others = [name for name in COLUMNS[setting] if name in columns]
    if wanted in columns:
        return str(wanted)
    if wanted == getattr(DataConfig, setting) and len(others) == 1:
        return others[0]
    raise _missing(wanted, setting, path.name, columns)


def _missing(wanted: str, setting: str, file: str, columns: list[str]) -> InputError:
    return InputError(f"{file} has no column {wanted!r}: set data.{setting} to one of {', '.join(columns)}")


def _read_labels(file: Any, column: str, name: str) -> NDArray[np.int64]:
    """Return one file's labels, with -1 for null."""
    import pyarrow as pa

    if column not in file.schema_arrow.names:
        raise _missing(column, "label_column", name, file.schema_arrow.names)
    values = file.read(columns=[column]).column(0)
    if not pa.types.is_integer(values.type):
        raise InputError(f"{name} column {column!r} is {values.type}: data.label_column must hold whole numbers")
    return np.asarray(values.cast(pa.int64()).fill_null(-1).to_numpy(), dtype=np.int64)


def _class_names(files: Mapping[str, Path], train: Path, column: str, labels: NDArray[np.int64]) -> tuple[str, ...]:
    metadata = _open(train).schema_arrow.metadata or {}
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][column]
        return tuple(str(name) for name in feature["names"])
    except (KeyError, TypeError, ValueError):
        pass
    text = files.get(f"{column.removesuffix('s')}s.txt")
    if text is not None:
        return tuple(
            line.strip() for line in text.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        )
    classes = int(labels.max(initial=-1)) + 1
    if classes > len(labels):
        raise InputError(f"label {classes - 1} among {len(labels)} training images: labels must count from 0 to C - 1")
    return tuple(str(i) for i in range(classes))
