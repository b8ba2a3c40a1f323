"""A bounded sample of the training images that would be chosen now, class by class, as the network reads them."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from longtail.config import DataConfig
from longtail.data.crops import centre_crop
from longtail.data.problems import label_problems
from longtail.data.scan import read_fitted
from longtail.data.sources import load_source
from longtail.data.splits import choose_splits
from longtail.data.tables import Image, Source
from longtail.errors import InputError
from longtail.networks import ImageClassifier

_BATCH = 64
"""Images in memory at a time."""


class Chosen:
    """The training images that data imbalancing would choose from a source now, known by their labels alone.

    Attributes:
        counts: Images of each class, by name.
    """

    def __init__(self, source: Source, config: DataConfig) -> None:
        label_problems(source).check(source.name)
        rows = choose_splits(source, config)["train"].ids
        self._source, self._config, self._rows = source, config, rows
        self._labels = source.train.labels[rows]
        counts = np.bincount(self._labels, minlength=len(source.class_names))
        self.counts: dict[str, int] = dict(zip(source.class_names, counts.tolist(), strict=True))

    @classmethod
    def of(cls, config: DataConfig) -> "Chosen":
        """Return what would be chosen from the source that settings name.

        Raises:
            InputError: If the source is missing or damaged, or a class has too few images.
        """
        return cls(load_source(config), config)

    def rows(self, name: str, most: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return at most so many random rows of a class, sorted."""
        rows = self._rows[self._labels == self._source.class_names.index(name)]
        return np.sort(generator.choice(rows, min(most, len(rows)), replace=False))

    def images(self, rows: NDArray[np.int64]) -> Iterator[Image]:
        """Yield images as they are evaluated, (H, W, C).

        Yields:
            One image a row.

        Raises:
            InputError: If one is corrupt, naming it.
        """
        for row in rows:
            image = read_fitted(self._source.train, int(row), self._config.image_size)
            yield centre_crop(image, self._config.crop_size)


def features(network: ImageClassifier, images: Iterator[Image]) -> NDArray[np.float32]:
    """Return raw features (n, D) of images by a network, a few at a time; grey ones are repeated for a colour network.

    Raises:
        InputError: If an image has another shape than the network was trained with.
    """
    parts, block = [], list[Image]()
    for image in images:
        block.append(_fitting(image, network.spec.image_shape))
        if len(block) == _BATCH:
            parts.append(_forward(network, block))
            block = []
    if block:
        parts.append(_forward(network, block))
    return np.concatenate(parts)


def _forward(network: ImageClassifier, images: list[Image]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return network.features(network.preprocess(torch.from_numpy(np.stack(images)))).numpy()


def _fitting(image: Image, shape: tuple[int, int, int]) -> Image:
    """Return an image with the network's channels: grey repeated, or colour that is grey in truth reduced."""
    if image.shape[2] < shape[2]:
        image = np.repeat(image, shape[2], axis=2)
    elif image.shape[2] > shape[2] and (image == image[..., :1]).all():
        image = image[..., :1]
    if image.shape != tuple(shape):
        raise InputError(
            f"an image has the shape {list(image.shape)}, the champion reads {list(shape)}: set data.image_size as for "
            "its training, or train anew with `longtail retrain --force --from-scratch`"
        )
    return image
