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
class Parts:
    """How many images of a class go to each split, at most; smaller classes are split in the same proportions."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Source:
    """A labelled image data set."""

    name: str
    class_names: tuple[str, ...]
    train: ImageTable
    test: ImageTable | None
    """None where there is no test split: its images are held out of `train`."""
    parts: Parts | None = None
    """How `train` is split where `test` is None; without it a share of each class is held out."""
    remark: str = ""
    """What is unusual about these images, for whoever builds a data set from them."""

    @property
    def tables(self) -> dict[str, ImageTable]:
        """The tables there are: `train`, and `test` if the source has one."""
        return {"train": self.train} | ({"test": self.test} if self.test is not None else {})
