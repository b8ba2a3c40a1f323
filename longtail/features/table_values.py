"""Values of a table's columns as arrays; whatever cannot be used is named by its row."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.errors import InputError
from longtail.features.table_columns import Columns

Place = Callable[[int], str]
"""Returns where a row of a batch is, such as `part-0.parquet row 12`."""


class Labels:
    """Labels of a table as they are read, by the order in which each was met first."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._codes: list[NDArray[np.int32]] = []

    def add(self, column: Any, place: Place) -> None:
        """Add a batch's labels.

        Raises:
            InputError: If one is missing or empty.
        """
        numbers, values = _numbers(column)
        codes = [-1 if value in (None, "") else self._known.setdefault(value, len(self._known)) for value in values]
        found = np.array([*codes, -1], dtype=np.int32)[numbers]
        if len(bad := np.flatnonzero(found < 0)):
            raise InputError(f"{place(bad[0])} has no label: label or drop it")
        self._codes.append(found)

    def classes(self, training: NDArray[np.bool_]) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
        """Return the labels that training rows have, in order, and each row's class.

        Args:
            training: (N,) which rows are for training.

        Returns:
            The C labels, and (N,) int64 numbers of them, -1 for a label that no training row has.
        """
        codes = np.concatenate(self._codes)
        used = np.bincount(codes[training], minlength=len(self._known)) > 0
        labels = sorted(label for label, code in self._known.items() if used[code])
        numbers = np.full(len(self._known), -1, dtype=np.int64)
        numbers[[self._known[label] for label in labels]] = np.arange(len(labels))
        return tuple(labels), numbers[codes]

    def label(self, row: int) -> Any:
        """Return the label of a row."""
        code = np.concatenate(self._codes)[row]
        return next(label for label, number in self._known.items() if number == code)


def split_numbers(column: Any, splits: Sequence[str], place: Place) -> NDArray[np.int8]:
    """Return (n,) the split of each row of a batch, by its number in `splits`.

    Raises:
        InputError: If a row has none of them.
    """
    numbers, values = _numbers(column)
    codes = [splits.index(value) if value in splits else -1 for value in values]
    found = np.array([*codes, -1], dtype=np.int8)[numbers]
    if len(bad := np.flatnonzero(found < 0)):
        raise InputError(f"{place(bad[0])} has split {column[bad[0]].as_py()!r}: choose from {', '.join(splits)}")
    return found


def width(column: Any, place: Place) -> int:
    """Return how many features the first row of a column of lists has.

    Raises:
        InputError: If it has none.
    """
    size = len(column[0]) if column[0].is_valid else 0
    if size == 0:
        raise InputError(f"{place(0)} has no features: give every row a list of them")
    return size


def feature_block(batch: Any, columns: Columns, size: int, place: Place) -> NDArray[np.float32]:
    """Return a batch's features (n, `size`) float32.

    Raises:
        InputError: If a row has another number of features, or one that is missing or not finite in float32.
    """
    block = _from_lists(batch.column(0), size, place) if columns.lists else _from_columns(batch, columns, place)
    bad = ~np.isfinite(block)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        column = int(bad[row].argmax())
        value = batch.column(0)[row][column] if columns.lists else batch.column(column)[row]
        what = f"{columns.features[0]}[{column}]" if columns.lists else columns.features[column]
        raise InputError(
            f"{place(row)} has {value.as_py()!r} in {what}: features are finite and fit float32; drop or repair the row"
        )
    return block


def _from_lists(column: Any, size: int, place: Place) -> NDArray[np.float32]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise InputError(f"{place(_first_null(column))} has no features: give every row a list of {size}")
    if not pa.types.is_fixed_size_list(column.type):
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        if len(bad := np.flatnonzero(lengths != size)):
            raise InputError(
                f"{place(bad[0])} has {lengths[bad[0]]} features, the first row {size}: give every row {size}"
            )
    elif column.type.list_size != size:
        raise InputError(
            f"{place(0)} has {column.type.list_size} features, the first row {size}: give every row {size}"
        )
    values = column.flatten()
    if values.null_count:
        row, position = divmod(_first_null(values), size)
        raise InputError(f"{place(row)} has no value at position {position} of its features: drop or repair the row")
    return _float32(values).reshape(-1, size)


def _from_columns(batch: Any, columns: Columns, place: Place) -> NDArray[np.float32]:
    block = np.empty((batch.num_rows, len(columns.features)), dtype=np.float32)
    for number, (name, column) in enumerate(zip(columns.features, batch.columns, strict=True)):
        if column.null_count:
            raise InputError(f"{place(_first_null(column))} has no value in {name!r}: drop or repair the row")
        block[:, number] = _float32(column)
    return block


def _float32(values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.float32, copy=False)


def _first_null(column: Any) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])


def _numbers(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """Return distinct values, and each row's number among them; that of a missing value is their count."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    return encoded.indices.cast(pa.int64()).fill_null(len(values)).to_numpy(zero_copy_only=False), values
