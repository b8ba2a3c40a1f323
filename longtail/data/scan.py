"""One pass over chosen images by a pool of threads: decode, find what is corrupt, measure, store."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from longtail.data.images import fit
from longtail.data.problems import Problems, listing
from longtail.data.tables import Image, ImageTable
from longtail.errors import InputError

BLOCK = 64
PACKED_SIDE = 64
"""Images up to this side in pixels are stored decoded."""


@dataclass
class Scan:
    """What was found in the images of one or several splits."""

    corrupt: list[str] = field(default_factory=list)
    sizes: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    """How many images have each (height, width), and the name of the first."""
    colour: bool = False

    def add(self, other: "Scan") -> None:
        """Add what was found in other images."""
        self.corrupt += other.corrupt
        self.colour |= other.colour
        for size, (count, name) in other.sizes.items():
            known = self.sizes.get(size, (0, name))
            self.sizes[size] = (known[0] + count, known[1])

    def check(self, name: str) -> None:
        """Raise `InputError` if any image is corrupt, naming the source and the images."""
        Problems(corrupt=self.corrupt).check(name)

    def single_size(self) -> tuple[int, int]:
        """Return the height and width that all images share.

        Raises:
            InputError: If they have several sizes; the message says which.
        """
        if len(self.sizes) != 1:
            found = [f"{h}x{w} ({count}, such as {name!r})" for (h, w), (count, name) in sorted(self.sizes.items())]
            raise InputError(f"images have {len(found)} sizes: {listing(found)}; set data.image_size to one side")
        return next(iter(self.sizes))


def scan(
    table: ImageTable,
    ids: NDArray[np.int64],
    image_size: int,
    store: Path | None = None,
    advance: Callable[[int], None] = lambda images: None,
) -> Scan:
    """Decode images, note what is wrong with them, and store them if they are small.

    Args:
        table: Split of a source.
        ids: Rows of it, shape (N,).
        image_size: Side of the square that each image is fitted to; 0 keeps the images as they are.
        store: Path of a new `.npy` file for the images, shape (N, H, W, 3) uint8, grey levels repeated; it is
            written only when the first readable image is at most 64 pixels large. None stores nothing.
        advance: Called with the number of images done since the last call.

    Returns:
        What was found.
    """
    found = Scan()
    target = _new_store(table, ids, image_size, store) if store else None

    def work(start: int) -> Scan:
        part = Scan()
        for position in range(start, min(start + BLOCK, len(ids))):
            _scan_one(table, int(ids[position]), image_size, part, target, position)
        return part

    with ThreadPoolExecutor() as pool:
        for part in pool.map(work, range(0, len(ids), BLOCK)):
            found.add(part)
            advance(sum(count for count, _ in part.sizes.values()) + len(part.corrupt))
    if target is not None:
        target.flush()
    return found


def read_fitted(table: ImageTable, index: int, image_size: int) -> Image:
    """Return one image of a table, fitted to a square unless `image_size` is 0.

    Raises:
        InputError: If it cannot be read; the message begins with its name.
    """
    try:
        return fit(table.read(index), image_size)
    except InputError as error:
        raise InputError(f"{table.names(index)!r}: {error}") from None


def sample_statistics(
    images: Callable[[NDArray[np.int64]], Image], count: int, limit: int
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel over evenly spaced images, in [0, 1] units.

    Args:
        images: Returns the images of some positions, shape (n, H, W, C) uint8.
        count: Number of images.
        limit: Most images to look at.

    Returns:
        Mean and standard deviation, one float a channel. The deviation is at least one grey level, so that a
        constant channel can be divided by it.
    """
    positions = np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))
    total, squares, pixels = np.zeros(()), np.zeros(()), 0
    for block in np.array_split(positions, -(-len(positions) // BLOCK)):
        values = images(block).astype(np.float64) / 255
        total = total + values.sum(axis=(0, 1, 2))
        squares = squares + np.square(values).sum(axis=(0, 1, 2))
        pixels += values[..., 0].size
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return mean.tolist(), np.maximum(deviation, 1 / 255).tolist()


def drop_colour(path: Path) -> None:
    """Rewrite a stored `.npy` of shape (N, H, W, 3) whose channels are equal as (N, H, W, 1)."""
    colour = np.load(path, mmap_mode="r", allow_pickle=False)
    grey_path = path.with_suffix(".grey")
    grey = open_memmap(grey_path, mode="w+", dtype=np.uint8, shape=(*colour.shape[:3], 1))
    for start in range(0, len(colour), 4096):
        grey[start : start + 4096] = colour[start : start + 4096, ..., :1]
    grey.flush()
    grey_path.replace(path)


def _new_store(table: ImageTable, ids: NDArray[np.int64], image_size: int, path: Path) -> np.memmap | None:
    """Return a new file for all images if the first readable one is small, else None."""
    for index in ids:
        try:
            height, width, _ = read_fitted(table, int(index), image_size).shape
        except InputError:
            continue
        if max(height, width) > PACKED_SIDE:
            return None
        images = open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(ids), height, width, 3))
        # Writing to a sparse mapped file on a full disk would end the process by SIGBUS; this raises OSError.
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return images
    return None


def _scan_one(
    table: ImageTable, index: int, image_size: int, part: Scan, target: np.memmap | None, position: int
) -> None:
    try:
        image = read_fitted(table, index, image_size)
    except InputError as error:
        part.corrupt.append(str(error))
        return
    height, width, channels = image.shape
    count, name = part.sizes.get((height, width), (0, table.names(index)))
    part.sizes[height, width] = (count + 1, name)
    part.colour |= channels == 3
    if target is not None and (height, width) == target.shape[1:3]:
        target[position] = image
