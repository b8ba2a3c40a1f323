"""Curvature of the loss while training goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtail.config import CurvatureConfig
from longtail.data.dataset import Split
from longtail.hessian import analyze
from longtail.hessian.snapshot import Snapshot
from longtail.hessian.subset import SUBSET_SEED, balanced_rows
from longtail.networks import ImageClassifier


@dataclass(frozen=True)
class _Batches:
    """The subset's images, made as the network reads them each time they are read, and their labels."""

    classifier: ImageClassifier
    images: Tensor  # (n, H, W, C) uint8
    labels: Tensor  # (n,) int64
    batch_size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.classifier.mean.device
        parts = zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)
        for images, labels in parts:
            yield self.classifier.preprocess(images.to(device)), labels


class CurvatureObserver:
    """Analyses a network before training, every few epochs, and at the end; training goes on as if it had not.

    The images, which are not augmented, and the random probes are the same every time, so that differences between
    epochs are less noisy than the values. The loss is the cross-entropy, whatever is trained with.

    Args:
        config: How often, and how much work each time; `every` is not 0.
        training: Where the images are.

    Attributes:
        snapshots: What was found, by time.
    """

    def __init__(self, config: CurvatureConfig, training: Split) -> None:
        labels = np.asarray(training.labels)
        rows = balanced_rows(labels, config.images_per_class)
        self.config = config
        self.images, self.labels = torch.from_numpy(np.array(training.images(rows))), torch.from_numpy(labels[rows])
        self.snapshots: list[Snapshot] = []

    def observe(self, classifier: ImageClassifier, epoch: int, *, last: bool = False) -> dict[str, float]:
        """Return the metrics of the network's curvature if it is time for them, else nothing.

        Args:
            classifier: The network; it is left as found.
            epoch: Epochs that are done.
            last: Whether training ends here.
        """
        if epoch % self.config.every and not last:
            return {}
        report = analyze(
            classifier,
            F.cross_entropy,
            _Batches(classifier, self.images, self.labels, self.config.batch_size),
            probes=self.config.probes,
            lanczos_steps=self.config.lanczos_steps,
            seed=SUBSET_SEED,
        )
        snapshot = Snapshot.of(epoch, report)
        self.snapshots.append(snapshot)
        return snapshot.metrics()

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint must hold, as plain JSON values."""
        return [snapshot.to_dict() for snapshot in self.snapshots]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go on from what `state` returned."""
        self.snapshots = [Snapshot(**values) for values in state]
