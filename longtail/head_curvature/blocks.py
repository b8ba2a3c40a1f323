"""Curvature of a classifier's last layer, split by classes, as a function of the features that it reads.

The last layer's weight has one row for each class, so the diagonal blocks of a group of classes are its rows, and
their traces add up to the layer's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from longtail.config import HessianConfig
from longtail.hessian.analysis import Progress, analyze
from longtail.networks.heads import CosineHead, LinearHead, ReferenceCosineHead, logit_scale

ALL = "all"
"""Name of the block of the whole layer."""
_PREFIX = "rows."

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Block:
    """Curvature in the rows of some classes: their weights and, as the head has them, their biases."""

    classes: int
    parameters: int
    trace: float
    gauss_newton: float | None  # trace of the Gauss-Newton matrix, never negative; None without a closed form
    trace_stderr: float | None  # of the choice of the samples; None from 16 samples or fewer
    top_eigenvalue: float


@dataclass(frozen=True)
class ClassTraces:
    """Trace of each class's rows, in its two parts."""

    gauss_newton: NDArray[np.float64]  # (C,)
    residual: NDArray[np.float64]  # (C,)

    def of(self, curvature: str) -> NDArray[np.float64]:
        """Return (C,) traces of the `hessian`, which is the sum, of `ggn` or of `residual`."""
        return {"hessian": self.gauss_newton + self.residual, "ggn": self.gauss_newton}.get(curvature, self.residual)


class HeadRows(nn.Module):
    """A head whose only trainable parameters are its class rows, one parameter (n, D + 1) for each group of classes.

    A row is a class's weight, then its bias. A cosine head's scale is held.

    Args:
        head: Its weight and bias are copied; it is frozen.
        members: Classes of each group; together all of them, each once.

    Attributes:
        position: (C,) place of each class among the outputs, which come group by group.
    """

    def __init__(self, head: nn.Module, members: Mapping[str, NDArray[np.int64]]) -> None:
        super().__init__()
        self.head = head.requires_grad_(False)
        stacked = torch.cat([head.weight, head.bias[:, None]], dim=1)  # type: ignore[index, list-item]
        self.rows = nn.ParameterDict({
            group: nn.Parameter(stacked[torch.from_numpy(classes)]) for group, classes in members.items()
        })
        self._order = tuple(members)  # a ParameterDict sorts its names
        self.position = torch.from_numpy(np.argsort(np.concatenate(list(members.values()))))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, C) of features (N, D), in the order of the groups."""
        rows = torch.cat([self.rows[group] for group in self._order])
        return functional_call(self.head, {"weight": rows[:, :-1], "bias": rows[:, -1]}, (features,))  # type: ignore[no-any-return]


def head_blocks(
    head: nn.Module,
    features: Tensor,
    labels: Tensor,
    members: Mapping[str, NDArray[np.int64]],
    config: HessianConfig,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[dict[str, Block], float]:
    """Return the curvature of the mean cross-entropy in a head's weight and bias, and that loss.

    Args:
        head: A head as the classifier has it; frozen on return.
        features: (N, D) features as the head reads them.
        labels: (N,) classes in `[0, C)`.
        members: Classes of each group; together all of them, each once.
        config: Curvature, probes, Lanczos steps and batch size.
        seed: Of probes and starts; the same seed makes differences between heads less noisy.
        progress: See `longtail.hessian.analyze`.

    Returns:
        A block for the whole layer, `all`, and one for each group. Top eigenvalues are of Lanczos runs; traces are
        exact where `class_traces` knows the head, and estimates elsewhere.
    """
    exact = class_traces(head, [(features, labels)])
    model = HeadRows(head, members)
    targets = model.position[labels]
    report = analyze(
        model,
        F.cross_entropy,
        list(zip(features.split(config.batch_size), targets.split(config.batch_size), strict=True)),
        layers=f"{_PREFIX}*",
        curvature=config.curvature,
        probes=config.probes,
        lanczos_steps=config.lanczos_steps,
        seed=seed,
        progress=progress,
    )
    everyone = {ALL: np.concatenate(list(members.values())), **members}
    blocks = {}
    for group, classes in everyone.items():
        found = report.full if group == ALL else report.layers[f"{_PREFIX}{group}"]
        trace = found.trace if exact is None else float(exact.of(config.curvature)[classes].sum())
        gauss_newton = float(exact.gauss_newton[classes].sum()) if exact else None
        if exact is None and config.curvature == "ggn":
            gauss_newton = trace
        blocks[group] = Block(
            len(classes), found.parameters, trace, gauss_newton, found.trace_sampling_stderr, found.top_eigenvalue
        )
    return blocks, report.loss


@torch.no_grad()
def class_traces(head: nn.Module, batches: Batches) -> ClassTraces | None:
    """Return the trace of each class's rows, exact, from one forward pass; nothing for a head without a closed form.

    With p_c the softmax, x the features and h = x/|x| · w_c/|w_c|, a class's share of the Gauss-Newton trace is the
    mean of p_c (1 - p_c) (|∂f_c/∂w_c|² + 1), the 1 for the bias; |∂f_c/∂w_c|² is |x|² for a linear head and
    s² (1 - h²) / |w_c|² for a cosine head with scale s. A linear head has no residual part. That of a cosine head is
    the mean of (y_c - p_c) s (D - 1) h / |w_c|², since the Laplacian of h in w_c is -(D - 1) h / |w_c|².

    Args:
        head: A head.
        batches: Pairs of features (n, D), as the head reads them, and labels (n,); read once.

    Returns:
        The traces, the bias included.
    """
    if isinstance(head, ReferenceCosineHead) or not isinstance(head, CosineHead | LinearHead):
        return None
    total, samples = torch.zeros(2, len(head.weight), dtype=torch.float64), 0
    for features, labels in batches:
        found = _cosine_parts(head, features, labels) if isinstance(head, CosineHead) else _linear_parts(head, features)
        total += torch.stack(found)
        samples += len(labels)
    gauss_newton, residual = (total / samples).numpy()
    return ClassTraces(gauss_newton, residual)


def _linear_parts(head: LinearHead, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Gauss-Newton and the residual part of each class, summed over the samples."""
    p = head(features).double().softmax(1)
    gauss_newton = (p * (1 - p)).T @ (features.double().square().sum(1) + 1)
    return gauss_newton, torch.zeros_like(gauss_newton)


def _cosine_parts(head: CosineHead, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Gauss-Newton and the residual part of each class, summed over the samples."""
    scale, squares = logit_scale(head), head.weight.double().square().sum(1)
    cosine = F.linear(F.normalize(features, dim=1), F.normalize(head.weight, dim=1)).double()
    p = (scale * cosine + head.bias).softmax(1)
    spread = p * (1 - p)
    gauss_newton = scale**2 * (spread * (1 - cosine.square())).sum(0) / squares + spread.sum(0)
    pull = F.one_hot(labels, len(head.bias)) - p
    return gauss_newton, scale * (features.shape[1] - 1) * (pull * cosine).sum(0) / squares


@torch.no_grad()
def set_unit_length(head: nn.Module) -> None:
    """Give a cosine head's weight the length that it normalises to, in place; another head stays as it is.

    That changes no logit. The curvature falls with the square of the length, which the head ignores and training
    leaves anywhere, so heads can only be compared at one length.
    """
    if isinstance(head, CosineHead):
        head.weight.copy_(F.normalize(head.weight, dim=head.weight_axis))
