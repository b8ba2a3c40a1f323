"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: a source without any download."""

import numpy as np
from numpy.typing import NDArray

from longtail.config import DataConfig
from longtail.data.imbalance import choose
from longtail.data.tables import Image, ImageTable, Source

TEST_PER_CLASS = 50
SPLIT_SEED = 8_8_1797


def load(_config: DataConfig) -> Source:
    """Return the digits with a fixed stratified split: 50 test images a class, the others for training."""
    images, labels = arrays()
    test = choose(labels, np.full(10, TEST_PER_CLASS), np.random.default_rng(SPLIT_SEED))
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Source(
        "digits", tuple(str(i) for i in range(10)), _table(images, labels, train), _table(images, labels, test)
    )


def arrays() -> tuple[Image, NDArray[np.int64]]:
    """Return all images, shape (1797, 8, 8, 1) with grey levels 0..16 scaled to 0..255, and their labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None], bunch.target.astype(np.int64)


def _table(images: Image, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> ImageTable:
    return ImageTable(labels[rows], lambda i: f"digit {rows[i]}", lambda i: images[rows[i]])
