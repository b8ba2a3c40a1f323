"""Unbiased trace estimates with standard errors, from random probes. Nothing here knows a model.

Every estimator returns single-probe samples; `combine` turns the samples of all parts of the data into one estimate.
Probes are Rademacher (entries -1 and 1): of all laws with unit variance they have the least variance, none at all on
a diagonal matrix.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class TraceEstimate:
    """A trace with two standard errors."""

    value: float
    stderr: float  # that the probes leave, for these samples
    sampling_stderr: float | None  # that the probes and the choice of the samples leave; None from a single part


def signs(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Return random -1 and 1, drawn on the CPU so that every device sees the same probe."""
    draw = torch.randint(0, 2, tuple(shape), generator=generator)
    return (2 * draw - 1).to(device=like.device, dtype=like.dtype)


def hutchinson(
    products: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    like: Mapping[str, Tensor],
    probes: int,
    generator: torch.Generator,
) -> dict[str, NDArray[np.float64]]:
    """Sample v^T A v for several symmetric matrices at once, each with its own v (Hutchinson 1990).

    The variance of a sample is 2(|A|_F^2 - |diag A|^2).

    Args:
        products: Takes a vector for each matrix, (P,), and returns each matrix times its vector.
        like: A tensor of each matrix's vector shape, dtype and device.
        probes: Samples to draw.
        generator: Source of the probes, on the CPU.

    Returns:
        The samples of each matrix, (probes,); their mean estimates the trace.
    """
    samples: dict[str, list[float]] = {name: [] for name in like}
    for _ in range(probes):
        vectors = {name: signs(tensor.shape, tensor, generator) for name, tensor in like.items()}
        for name, product in products(vectors).items():
            samples[name].append(float(torch.dot(vectors[name], product)))
    return {name: np.array(values) for name, values in samples.items()}


def factored(
    pull_back: Callable[[Tensor], Mapping[str, float]], like: Tensor, probes: int, generator: torch.Generator
) -> dict[str, NDArray[np.float64]]:
    """Sample |B^T e|^2 for several matrices A = B^T B whose factors share the row space of e.

    One pull-back serves every matrix, and the variance of each, 2(|K|_F^2 - |diag K|^2) with K = B B^T, does not
    depend on the others.

    Args:
        pull_back: Takes e and returns |B^T e|^2 of every matrix by name.
        like: A tensor of e's shape, dtype and device.
        probes: Samples to draw.
        generator: Source of the probes, on the CPU.

    Returns:
        The samples of each matrix, (probes,); their mean estimates the trace.
    """
    draws = [pull_back(signs(like.shape, like, generator)) for _ in range(probes)]
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def combine(samples: Sequence[NDArray[np.float64]], shares: Sequence[float]) -> TraceEstimate:
    """Combine the samples of a matrix that is the weighted sum of parts, each part probed afresh.

    The probes' variance is the sum of the parts' variances: fresh probes for each part make the error of B equal
    parts smaller than that of one probe kept for all of them, at the same cost. The spread of the parts' estimates
    shows the choice of the samples as well, as the parts are disjoint.

    Args:
        samples: Samples of each part, (probes,), at least two.
        shares: Weight of each part in the sum.

    Returns:
        The estimate.
    """
    weights, means = np.array(shares), np.array([part.mean() for part in samples])
    value = float(weights @ means)
    probes = sum(share**2 * float(part.var(ddof=1)) / len(part) for share, part in zip(shares, samples, strict=True))
    spread = None
    if len(samples) > 1:
        spread = float(np.sqrt(len(samples) / (len(samples) - 1) * np.sum((weights * (means - value)) ** 2)))
    return TraceEstimate(value, float(np.sqrt(probes)), spread)
