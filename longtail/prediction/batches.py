"""Batches of what a network reads: images decoded by a pool of threads ahead of it, or rows of a table."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import sha256_json
from longtail.config import TableConfig
from longtail.data.images import decode
from longtail.errors import InputError
from longtail.features.table_columns import find_feature_columns
from longtail.features.table_values import feature_block, width
from longtail.prediction.network import Preparation
from longtail.prediction.parquet_rows import ParquetRows, listed
from longtail.prediction.sources import Encoded, Images, list_place, tables_in

AHEAD = 3
"""Batches that are decoded before the network asks for them."""
TASK = 8
"""Images that a thread decodes at a time."""
REQUESTS = 32
"""Images that are asked of a store at the same time."""


@dataclass(frozen=True)
class Batch:
    """A batch of n inputs.

    Attributes:
        inputs: (m, ...) those that can be read, m at most n.
        errors: For each of the n why it cannot be read; empty if it can.
    """

    inputs: NDArray[Any]
    errors: Sequence[str]


class Inputs(Protocol):
    """All that is predicted, in a fixed order.

    Attributes:
        unit: What is counted, in the plural.
        digest: SHA-256 of the listing.
    """

    unit: str
    digest: str

    def __len__(self) -> int: ...

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return columns that name the inputs in [start, stop)."""

    def batches(self, start: int, size: int) -> Iterator[Batch]:
        """Yield batches of `size` inputs from one on; the last may be smaller."""


class ImageInputs:
    """Images that are decoded by threads, ahead of the network.

    Args:
        images: Encoded images.
        preparation: Makes of each what the network reads.
        threads: How many; 0 takes as many as there are cores.
    """

    unit = "images"

    def __init__(self, images: Images, preparation: Preparation, threads: int = 0) -> None:
        self._images, self._preparation = images, preparation
        self._threads = threads or os.cpu_count() or 1
        self.digest = sha256_json([images.digest, preparation.image_size, preparation.crop_size])

    def __len__(self) -> int:
        return len(self._images)

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return columns that name the images in [start, stop)."""
        return self._images.places(start, stop)

    def batches(self, start: int, size: int) -> Iterator[Batch]:
        """Yield batches of `size` images from one on; the last may be smaller."""
        encoded = self._images.encoded(start)
        waiting: deque[_Decoding] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        try:
            while loaders := list(islice(encoded, size)):
                waiting.append(_Decoding(pool, loaders, self._preparation))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().batch()
            while waiting:
                yield waiting.popleft().batch()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Decoding:
    """A batch that is being decoded."""

    def __init__(self, pool: ThreadPoolExecutor, loaders: list[Encoded], preparation: Preparation) -> None:
        self._loaders, self._preparation = loaders, preparation
        self._images = np.empty((len(loaders), *preparation.image_shape), dtype=np.uint8)
        self._errors = [""] * len(loaders)
        self._tasks: list[Future[None]] = [
            pool.submit(self._decode, first, min(first + TASK, len(loaders))) for first in range(0, len(loaders), TASK)
        ]

    def batch(self) -> Batch:
        """Return the batch when all of it is decoded."""
        for task in self._tasks:
            task.result()
        readable = np.array([not error for error in self._errors])
        return Batch(self._images if readable.all() else self._images[readable], self._errors)

    def _decode(self, first: int, stop: int) -> None:
        for position in range(first, stop):
            try:
                data = self._loaders[position]()
            except OSError as error:
                self._errors[position] = f"cannot be read ({error.strerror})"
                continue
            try:
                self._images[position] = self._preparation(decode(data))
            except InputError as error:
                self._errors[position] = str(error)


class RowInputs:
    """Rows of features in Parquet files.

    Args:
        place: A Parquet file, a folder of them, or the `s3://` address of either.
        size: Features of a row.

    Raises:
        InputError: If there are no such files, or their columns are not `size` features.
    """

    unit = "rows"

    def __init__(self, place: str, size: int) -> None:
        files, client = list_place(place)
        tables = tables_in(files)
        if not tables:
            raise InputError(f"{place} holds no Parquet file: the model reads rows of {size} features")
        self._rows, self._size = ParquetRows(tables, client), size
        self.digest = sha256_json(listed(tables))
        self._columns = find_feature_columns(self._rows.schemas, TableConfig())
        found = len(self._columns.features)
        if not self._columns.lists and found != size:
            raise InputError(f"{place} has {found} columns of numbers: the model reads rows of {size} features")

    def __len__(self) -> int:
        return len(self._rows)

    def places(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return the file and the row in it of the rows in [start, stop)."""
        names, rows = self._rows.places(start, stop)
        return {"path": names, "row": rows}

    def batches(self, start: int, size: int) -> Iterator[Batch]:
        """Yield batches of `size` rows from one on; the last may be smaller.

        Raises:
            InputError: If a row has another number of features, or one that is missing or not finite.
        """
        kept: list[NDArray[np.float32]] = []
        for batch, name, first in self._rows.batches(start, self._columns.features, size):
            ordered = batch.select(list(self._columns.features))

            def place(row: int, name: str = name, first: int = first) -> str:
                return f"{name} row {first + row}"

            if self._columns.lists and (found := width(ordered.column(0), place)) != self._size:
                raise InputError(f"{place(0)} has {found} features: the model reads rows of {self._size}")
            block = feature_block(ordered, self._columns, self._size, place)
            while len(block):
                missing = size - sum(map(len, kept))
                kept.append(block[:missing])
                block = block[missing:]
                if sum(map(len, kept)) == size:
                    yield Batch(np.concatenate(kept), [""] * size)
                    kept = []
        if kept:
            rows = np.concatenate(kept)
            yield Batch(rows, [""] * len(rows))
