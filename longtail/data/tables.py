"""What every source of images looks like to the rest of the package."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageTable:
    """The images of one split, read one at a time."""

    labels: NDArray[np.int64]
    """Class of each image, shape (N,); anything outside [0, C) is an unknown label."""
    names: Callable[[int], str]
    """Name of image i that a person can find it by, such as `train-00000.parquet row 12`."""
    read: Callable[[int], Image]
    """Decoded image i, shape (H, W, C) with C 1 for grey and 3 for colour; safe to call from several threads.

    Raises `InputError` if the image cannot be read or decoded.
    """


@dataclass(frozen=True)
class Source:
    """A labelled image data set with its own training and test split."""

    name: str
    class_names: tuple[str, ...]
    train: ImageTable
    test: ImageTable
