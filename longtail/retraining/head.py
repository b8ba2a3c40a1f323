"""Training a head on frozen features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.calibration.artifact import Samples
from longtail.config import RetrainingConfig
from longtail.features import Features
from longtail.training.schedule import learning_rate


class Batches(Protocol):
    """Features by row."""

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, D) and labels (n,) of rows (n,)."""


EpochSet = Callable[[int, torch.Generator], tuple[Batches, Tensor]]


@dataclass(frozen=True)
class FeatureSet:
    """Real features, then generated ones; both may be memory-mapped and are gathered batch by batch."""

    real: Any  # (N, D) float32
    generated: Any  # (M, D) float32
    labels: Tensor  # (N + M,) int64

    @classmethod
    def real_only(cls, features: Features, view: int) -> "FeatureSet":
        """Return the training features of a view, as the backbone gives them."""
        real = resident(features.train(view))
        return cls(real, real[:0], torch.from_numpy(features.labels("train").copy()))

    @classmethod
    def balanced(cls, features: Features, view: int, samples: Samples) -> "FeatureSet":
        """Return the training features of a view in the sampler's space, and a generated set."""
        labels = np.concatenate([features.labels("train"), samples.labels])
        real = torch.from_numpy(samples.transform(features.train(view)))
        return cls(real, resident(samples.rows), torch.from_numpy(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, D) and labels (n,) of rows (n,)."""
        count = len(self.real)
        is_real = rows < count
        x = torch.empty(len(rows), self.real.shape[1])
        x[is_real] = self.real[rows[is_real]]
        if not bool(is_real.all()):
            x[~is_real] = self.generated[rows[~is_real] - count]
        return x, self.labels[rows]


def fit_head(
    head: nn.Module,
    epoch_set: EpochSet,
    config: RetrainingConfig,
    *,
    peak: float,
    schedule: str,
    seed: int,
    on_epoch: Callable[[int, dict[str, float]], None] | None,
) -> None:
    """Train a head in place by SGD on what `epoch_set` gives for each epoch.

    Args:
        head: Maps features (n, D) to logits (n, classes).
        epoch_set: Called with the epoch (from 0) and a generator; returns features and the order of their rows.
        config: Epochs, batch size, momentum, weight decay.
        peak: Learning rate.
        schedule: `constant` or `cosine`.
        seed: Of the orders.
        on_epoch: Called with the epoch (from 1) and its metrics.
    """
    head.train()
    optimizer = torch.optim.SGD(head.parameters(), peak, config.momentum, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(config.epochs):
        features, order = epoch_set(epoch, generator)
        batch_size = min(config.batch_size, len(order))
        steps = len(order) // batch_size
        loss_sum = correct = 0.0
        for step in range(steps):
            x, y = features.batch(order[step * batch_size : (step + 1) * batch_size])
            progress = (epoch * steps + step) / (config.epochs * steps)
            optimizer.param_groups[0]["lr"] = learning_rate(schedule, peak, progress)
            optimizer.zero_grad(set_to_none=True)
            logits = head(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            loss_sum += float(loss.detach())
            correct += float((logits.argmax(1) == y).sum())
        if on_epoch is not None:
            seen = steps * batch_size
            on_epoch(epoch + 1, {"head/loss": loss_sum / steps, "head/accuracy": 100 * correct / seen})
    head.eval()


def resident(array: Any) -> Tensor:
    """Return a tensor that shares the (memory-mapped, read-only) array's pages."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
