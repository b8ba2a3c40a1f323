"""Losses that know how many images each class has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtail.config import LossConfig

EFFECTIVE_NUMBER_BETA = 0.9999
"""Of LDAM-DRW's deferred weights (Cao et al. 2019)."""


class ClassLoss:
    """A classification loss with priors, margins or weights by class.

    - `cross_entropy`.
    - `logit_adjustment`: cross-entropy of f + τ·log π, π_c = n_c/N (Menon et al. 2021, arXiv 2007.07314, eq. 10).
    - `balanced_softmax`: the same with τ = 1, as N cancels (Ren et al. 2020, arXiv 2007.10740, eq. 3).
    - `ldam`: the true class's logit is lowered by s·Δ_c, Δ_c ∝ n_c^(-1/4), the largest being `margin` (Cao et al.
      2019, arXiv 1906.07413, eq. 12). The authors fix s to 30; here it is the head's own scale, so that the margin is
      a cosine as there; a linear head has s = 1.

    From `reweighting_from` on, classes are weighted by (1 - β)/(1 - β^n_c), with mean 1 over the classes (the deferred
    weights of the same paper).

    Args:
        config: Which loss.
        counts: (C,) training images of each class.
        device: Where logits will be.
    """

    def __init__(self, config: LossConfig, counts: Any, device: torch.device | str = "cpu") -> None:
        images = np.maximum(np.asarray(counts, dtype=np.float64), 1)
        tau = {"balanced_softmax": 1.0, "logit_adjustment": config.tau}.get(config.name, 0.0)
        margins = images**-0.25
        margins *= config.margin / margins.max() if config.name == "ldam" else 0.0
        weights = 1 / -np.expm1(images * np.log(EFFECTIVE_NUMBER_BETA))
        self.reweighting_from = config.reweighting_from
        self.prior, self.margins, self.weights = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in (tau * np.log(images / images.sum()), margins, weights / weights.mean())
        )

    def __call__(self, logits: Tensor, labels: Tensor, scale: Tensor | float = 1.0, progress: float = 0.0) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (N, C) float32.
            labels: (N,) int64.
            scale: What the head multiplies its cosines by; 1 for a linear head.
            progress: Share of the training that is done, in [0, 1].
        """
        return self.of_adjusted(self.adjusted(logits, labels, scale), labels, progress)

    def adjusted(self, logits: Tensor, labels: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Return logits (N, C) with priors and margins: the loss is a cross-entropy of them."""
        margins = scale * self.margins[labels]
        return (logits + self.prior).scatter_add(1, labels[:, None], -margins[:, None])

    def of_adjusted(self, adjusted: Tensor, labels: Tensor, progress: float = 0.0) -> Tensor:
        """Return the mean loss of adjusted logits (N, C)."""
        return F.cross_entropy(adjusted, labels, self.weights if progress >= self.reweighting_from else None)

    def mixed(
        self,
        logits: Tensor,
        targets: Sequence[tuple[float, Tensor]],
        scale: Tensor | float = 1.0,
        progress: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of images that have several labels, as a function of one tensor, and that tensor.

        Args:
            logits: (N, C) float32.
            targets: Shares that add up to 1, and the labels (N,) int64 that have them.
            scale: See `__call__`.
            progress: See `__call__`.

        Returns:
            Adjusted logits (N · number of targets, C), and the loss, a scalar in their graph.
        """
        outputs = torch.cat([self.adjusted(logits, labels, scale) for _, labels in targets])
        parts = zip(targets, outputs.split(len(logits)), strict=True)
        losses = [share * self.of_adjusted(part, labels, progress) for (share, labels), part in parts]
        return outputs, torch.stack(losses).sum()
