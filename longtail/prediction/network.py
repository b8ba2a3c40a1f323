"""The network of a logged model, read from the model's folder, and how images are made what it reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from longtail.artifacts import artifact_digest
from longtail.data.crops import centre_crop
from longtail.data.images import fit, grey
from longtail.data.tables import Image
from longtail.errors import InputError
from longtail.networks import load
from longtail.serving import ServedClassifier

Floats = NDArray[np.float32]


class Answer(NamedTuple):
    """What a network says of n inputs: probabilities (n, C) and features (n, D)."""

    probabilities: Floats
    features: Floats


@dataclass(frozen=True)
class Preparation:
    """How an image becomes one that the network reads: as the images of its training data set did.

    Attributes:
        image_shape: (H, W, C) that the network reads.
        image_size: Side of the square that training images were resized to; 0 if they were not.
        crop_size: Side of their centre that was evaluated; 0 for all of it.
    """

    image_shape: tuple[int, int, int]
    image_size: int = 0
    crop_size: int = 0

    def __call__(self, image: Image) -> Image:
        """Return an image (H, W, 1) or (H, W, C) of an image (h, w, 1 or 3).

        One of another size has its shorter side resized and its centre square cropped; so it is, too, if the training
        images were not resized because all were squares of the size that the network reads.

        Raises:
            InputError: If that is not what it becomes, as for training images that were no squares.
        """
        height, width, channels = self.image_shape
        if channels == 1 and image.shape[2] == 3:
            image = grey(image)
        side = self.image_size
        if not side and not self.crop_size and height == width:
            side = height
        fitted = centre_crop(fit(image, side), self.crop_size)
        if fitted.shape[:2] != (height, width):
            raise InputError(
                f"has {image.shape[0]}x{image.shape[1]} pixels, the network reads {height}x{width}, and its training "
                "images were not resized"
            )
        return fitted


class Predictor:
    """A logged model on this machine's fastest device.

    Args:
        folder: The model's files.

    Attributes:
        digest: SHA-256 that stands for its weights and all that it is made of.
        class_names: (C,) names.
        input_shape: (H, W, channels) of an image, or (D,) of a row.
        feature_size: D.
        batch_size: Inputs that fit in memory together.

    Raises:
        InputError: If the folder is no model of ours, or a file was changed.
    """

    def __init__(self, folder: Path) -> None:
        network = folder / "artifacts" / "network"
        if not network.is_dir():
            raise InputError(f"{folder} holds no network of ours: give a model that a Longtail run has logged")
        classifier, self._manifest = load(network)
        self.digest = artifact_digest(network)
        self.class_names = classifier.spec.class_names
        self.feature_size = int(classifier.backbone.feature_size)  # type: ignore[arg-type]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._served = ServedClassifier(classifier).eval().to(self._device)
        self.reads_rows, self.input_shape = self._served.reads_rows, self._served.input_shape
        self.batch_size = self._served.rows_at_once
        if not self.reads_rows:
            self._served.to(memory_format=torch.channels_last)

    def __call__(self, inputs: NDArray[np.generic]) -> Answer:
        """Return probabilities and features of images (n, H, W, channels) uint8 or rows (n, D) float32."""
        if not len(inputs):  # not every layer takes an empty batch
            return Answer(*(np.empty((0, size), np.float32) for size in (len(self.class_names), self.feature_size)))
        with torch.inference_mode():
            probabilities, features = self._served(torch.from_numpy(inputs).to(self._device))
        return Answer(probabilities.float().cpu().numpy(), features.float().cpu().numpy())

    def preparation(self) -> Preparation:
        """Return how images become what it reads."""
        height, width, channels = self.input_shape
        sizes = {name: int(self._manifest.get(name, 0)) for name in ("image_size", "crop_size")}
        return Preparation((height, width, channels), **sizes)
