"""What a champion was trained on, as its model keeps it: class counts, class means of its features, their deviation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from longtail.errors import InputError
from longtail.networks import ImageClassifier, load
from longtail.networks.extension import NETWORK

FILE = "artifacts/reference.safetensors"
"""Where a model's folder keeps the moments of its training features."""
_SMALLEST_DEVIATION = 0.05
"""Least deviation of a feature, in root mean squares of all features' deviations: one that was always off has none."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A champion's network and the moments of its training features.

    Attributes:
        network: The whole classifier, in eval mode.
        counts: Training images of each class, by name, in the order of the network's outputs.
        means: (C, D) class means of raw features.
        deviation: (D,) pooled standard deviation within classes, not too near zero to divide by.
    """

    network: ImageClassifier
    counts: dict[str, int]
    means: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def standardised(self, name: str, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return features (n, D) of a known class as deviations from its mean then, in standard deviations."""
        return (features - self.means[list(self.counts).index(name)]) / self.deviation  # type: ignore[no-any-return]


def read_reference(folder: Path) -> Reference:
    """Return what a model's folder says of its training.

    Raises:
        InputError: If the model has no such files, as one of an earlier release, or they do not fit each other.
    """
    network, _ = load(folder / NETWORK)
    try:
        tensors: dict[str, Any] = load_file(folder / FILE)
        means, deviation, counts = (tensors[name] for name in ("class_means", "std", "class_counts"))
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(
            f"{folder / FILE} cannot be read ({type(error).__name__}): the champion says nothing of its training; "
            "train one with this release"
        ) from None
    names = network.spec.class_names
    if not len(names) == len(means) == len(counts) or means.shape[1:] != deviation.shape:
        raise InputError(f"{folder / FILE} is of {len(means)} classes, the network of {len(names)}: log the model anew")
    floor = _SMALLEST_DEVIATION * float(np.sqrt(np.mean(np.square(deviation))))
    return Reference(
        network, dict(zip(names, counts.tolist(), strict=True)), means, np.maximum(deviation, floor, dtype=np.float32)
    )
