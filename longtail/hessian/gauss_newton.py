"""Where the Hessian's diagonal blocks are Gauss-Newton blocks, and what first derivatives tell about those.

If the outputs are piecewise affine in a parameter with the others fixed, as in a network of convolutions, linear
layers, evaluation-mode normalisation, ReLU and pooling, the residual part of that parameter's Hessian block vanishes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.hessian.operators import BatchCurvature, BatchLoss, Objective, residual
from longtail.hessian.outputs import curvature_root
from longtail.hessian.trace import factored

_SAMPLES = 8  # curvature of an activation function shows on any sample; few keep the check cheap
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}  # relative size of a residual product that is rounding


def gauss_newton_parameters(objective: Objective, generator: torch.Generator) -> set[str]:
    """Find, by one random product each, the parameters whose Hessian block is the Gauss-Newton block.

    Args:
        objective: The objective; its first few samples are used.
        generator: Source of the products' vectors, on the CPU.

    Returns:
        Names of the parameters with |H_l v| at most 1e-5 (float32: 1e-4) of |Hess_l v|, H the residual part.
    """

    def probe(batch: BatchLoss) -> set[str]:
        rest = BatchCurvature(residual(batch), few.parameters)
        whole = BatchCurvature(batch.value, few.parameters)
        return {name for name, value in few.parameters.items() if _vanishes(rest, whole, name, value, generator)}

    few = objective.first_samples(_SAMPLES)
    (names,) = few.over_batches(probe)
    return names


def _vanishes(
    rest: BatchCurvature, whole: BatchCurvature, name: str, value: nn.Parameter, generator: torch.Generator
) -> bool:
    """Return whether a random product with the residual part is nothing but rounding."""
    vector = torch.randn(value.numel(), generator=generator, dtype=torch.float64).to(value)
    sizes = [float(torch.linalg.vector_norm(part.product([name], vector))) for part in (rest, whole)]
    return sizes[0] <= _TOLERANCE[value.dtype] * sizes[1]


def gauss_newton_samples(
    batch: BatchLoss,
    blocks: Mapping[str, Sequence[str]],
    parameters: Mapping[str, nn.Parameter],
    probes: int,
    generator: torch.Generator,
) -> dict[str, NDArray[np.float64]] | None:
    """Sample the traces of all Gauss-Newton blocks of a batch, one first-order backward pass a probe.

    Args:
        batch: The batch's loss.
        blocks: Names of the parameters of each block.
        parameters: Parameters by name.
        probes: Samples to draw.
        generator: Source of the probes, on the CPU.

    Returns:
        Samples of each block, (probes,), or nothing if the loss's curvature in the outputs cannot be factored.
    """
    root = curvature_root(batch.loss, batch.outputs.detach(), batch.targets, generator)
    if root is None:
        return None
    names = sorted({name for members in blocks.values() for name in members})

    def pull_back(signs: Tensor) -> dict[str, float]:
        gradients = torch.autograd.grad(
            batch.outputs, [parameters[name] for name in names], root(signs), retain_graph=True, allow_unused=True
        )
        squares = {
            name: 0.0 if gradient is None else float(gradient.double().square().sum())
            for name, gradient in zip(names, gradients, strict=True)
        }
        return {block: sum(squares[name] for name in members) for block, members in blocks.items()}

    return factored(pull_back, batch.outputs, probes, generator)
