"""Test features of a classifier whose backbone is no longer the one that the shared features come from."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from longtail.data.dataset import Split
from longtail.features.extraction import Features, Floats, write_view
from longtail.networks import ImageClassifier
from longtail.training.batches import Images

FILE = "features-test.npy"


def is_changed(backbone: nn.Module, before: nn.Module) -> bool:
    """Return whether any weight or average of a backbone is another than before."""
    left, right = backbone.state_dict(), before.state_dict()
    return any(not torch.equal(left[name], right[name]) for name in left)


def write_own(classifier: ImageClassifier, split: Split, folder: Path, batch_size: int) -> None:
    """Write the test split's features by a classifier's own backbone into its artifact's folder."""
    images, generator = Images(split, classifier.mean.device), torch.Generator()
    write_view(classifier.eval(), images, "none", folder / FILE, batch_size=batch_size, generator=generator)


def has_own(manifest: dict[str, Any]) -> bool:
    """Return whether a classifier's backbone is another than the one of the shared features, by its manifest."""
    return FILE in manifest["files"]


def features_to_test(path: Path, manifest: dict[str, Any], features: Features) -> Floats:
    """Return the test features (N, D) that a classifier is evaluated on: its own ones, or else the shared ones.

    Args:
        path: The classifier's artifact.
        manifest: Its manifest.
        features: The shared features.
    """
    if has_own(manifest):
        return cast("Floats", np.load(path / FILE, mmap_mode="r", allow_pickle=False))
    return features.split("test")
