"""Features that were computed elsewhere: Parquet files, read a part of a row group at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.config import TableConfig
from longtail.data.imbalance import choose
from longtail.data.splits import TEST_STREAM, hold_out_counts
from longtail.data.table_files import fetch_tables
from longtail.errors import InputError
from longtail.features.table_columns import Columns, find_columns
from longtail.features.table_values import Labels, Place, feature_block, split_numbers, width

SPLITS = ("train", "validation", "test")
TRAIN, TEST = 0, 2
BLOCK_VALUES = 2**22
"""Features that are decoded at once, 16 MB as float32."""
KEY_ROWS = 2**18
"""Labels that are decoded at once."""
BUFFER_BYTES = 2**18
"""Read ahead in each column; without a bound a row group is read whole, and may be the whole file."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """A table whose labels are in memory and whose features are on disk.

    Attributes:
        files: Parquet files by name; rows are counted through them in this order.
        columns: What its columns are.
        class_names: (C,) names of the classes of training rows, in the order of their numbers or letters.
        labels: (N,) int64 classes in `[0, C)`.
        splits: (N,) int8 numbers in `SPLITS`.
        held_out: Whether test rows were held out here, as none said `test`.
        size: Features of a row, D.
    """

    files: Mapping[str, Path]
    columns: Columns
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.int8]
    held_out: bool
    size: int

    @classmethod
    def open(cls, config: TableConfig) -> "FeatureTable":
        """Return a table after reading its labels and splits.

        Raises:
            InputError: If a file or column is missing or of the wrong kind, a row has no label or an unknown split,
                there are fewer than two classes, or a class has rows to test but none to train.
        """
        files = fetch_tables(config.path)
        columns = find_columns({name: _open(name, path).schema_arrow for name, path in files.items()}, config)
        labels, splits = Labels(), [np.zeros(0, dtype=np.int8)]
        for batch, _, place in _batches(files, columns.keys, KEY_ROWS):
            labels.add(batch.column(0), place)
            numbers = split_numbers(batch.column(1), SPLITS, place) if columns.split else None
            splits.append(np.zeros(batch.num_rows, dtype=np.int8) if numbers is None else numbers)
        split = np.concatenate(splits)
        names, classes = _classes(labels, split, files, config)
        held_out = not (split == TEST).any()
        if held_out:
            split[_hold_out(classes, split, len(names), config)] = TEST
        return cls(files, columns, names, classes, split, held_out, _size(files, columns))

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows (n,) of a split, ascending."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def blocks(self, split: str) -> Iterator[Floats]:
        """Yield the features (n, D) of a split's rows in their order; row groups without any are not read.

        Raises:
            InputError: If a feature is missing or not finite, or a row has more or fewer than the first.
        """
        wanted = self.splits == SPLITS.index(split)
        batches = _batches(self.files, self.columns.features, max(1, BLOCK_VALUES // self.size), wanted)
        for batch, start, place in batches:
            chosen = wanted[start : start + batch.num_rows]
            if chosen.any():
                yield feature_block(batch, self.columns, self.size, place)[chosen]


def _batches(
    files: Mapping[str, Path], columns: Sequence[str], rows: int, wanted: NDArray[np.bool_] | None = None
) -> Iterator[tuple[Any, int, Place]]:
    """Yield batches of some columns, the number of their first row, and what names their rows.

    Row groups without `wanted` rows are left out.
    """
    start = 0
    for name, path in files.items():
        file, first = _open(name, path), start
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            if wanted is None or wanted[start:end].any():
                for batch in _read(file, name, group, columns, rows):
                    yield batch, start, partial(_place_in, name, start - first)
                    start += batch.num_rows
            start = end


def _open(name: str, path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} is not a whole Parquet file ({str(error).partition(chr(10))[0]})") from None


def _read(file: Any, name: str, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
    """Yield a row group in batches with the columns in the order that is asked for."""
    import pyarrow as pa

    try:
        for batch in file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False):
            yield batch.select(list(columns))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{name} row group {group} cannot be read ({reason}): write the file again") from None


def _place_in(name: str, first: int, row: int) -> str:
    return f"{name} row {first + row}"


def _classes(
    labels: Labels, split: NDArray[np.int8], files: Mapping[str, Path], config: TableConfig
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return names of the classes and (N,) the class of each row."""
    if not (split == TRAIN).any():
        raise InputError(f"{config.path} has no rows{' for training' if len(split) else ''}: give some of each class")
    found, classes = labels.classes(split == TRAIN)
    if len(unknown := np.flatnonzero(classes < 0)):
        row = int(unknown[0])
        raise InputError(
            f"{_place(files, row)} is for {SPLITS[split[row]]} and no training row has its label {labels.label(row)!r} "
            f"({len(unknown)} such rows): drop them, or give some of the label to train"
        )
    if len(found) < 2:
        raise InputError(f"{config.path} has one class to train, {found[0]!r}: give rows of at least two")
    return tuple(map(str, found)), classes


def _place(files: Mapping[str, Path], row: int) -> str:
    for name, path in files.items():
        rows = _open(name, path).metadata.num_rows
        if row < rows:
            break
        row -= rows
    return f"{name} row {row}"


def _hold_out(classes: NDArray[np.int64], split: NDArray[np.int8], size: int, config: TableConfig) -> NDArray[np.int64]:
    """Return the training rows that are for testing instead."""
    labels = np.where(split == TRAIN, classes, -1)
    counts = hold_out_counts(np.bincount(labels[labels >= 0], minlength=size), config.test_share)
    if not counts.any():
        raise InputError(
            f"{config.path} has one row of each class, so none can be held out for testing: give more rows"
        )
    return choose(labels, counts, np.random.default_rng([config.split_seed, TEST_STREAM]))


def _size(files: Mapping[str, Path], columns: Columns) -> int:
    """Return the features of a row, D."""
    if not columns.lists:
        return len(columns.features)
    batch, _, place = next(_batches(files, columns.features, 1))
    return width(batch.column(0), place)
