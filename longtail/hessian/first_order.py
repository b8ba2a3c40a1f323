"""Where the Hessian's diagonal blocks are Gauss-Newton blocks, and their traces from first derivatives.

If the outputs are piecewise affine in a parameter with the others fixed, its block of the Hessian is J^T S J, with J
the outputs' Jacobian and S the loss's second derivative in the outputs. That holds for all parameters of a network of
convolutions, linear layers, evaluation-mode normalisation, ReLU and pooling. It fails for smooth activations, tied
weights, and every layer below a cosine head, which normalises its input.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.hessian.operators import BatchCurvature, BatchLoss, Objective, residual
from longtail.hessian.outputs import curvature_root
from longtail.hessian.trace import factored

_SAMPLES = 8  # an activation function's curvature shows on any sample; few keep the check cheap
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}  # relative size of a product that is rounding


def affine_parameters(objective: Objective, generator: torch.Generator) -> frozenset[str]:
    """Find the parameters whose Hessian block is the Gauss-Newton block, by one random product each.

    Args:
        objective: The objective; its first few samples are used.
        generator: Source of the products' vectors, on the CPU.

    Returns:
        Names of the parameters with |H v| at most 1e-5 (float32: 1e-4) of |Hess v|, H the residual part.
    """

    def probe(batch: BatchLoss) -> frozenset[str]:
        rest = BatchCurvature(residual(batch), few.parameters)
        whole = BatchCurvature(batch.value, few.parameters)
        return frozenset(name for name in few.parameters if _vanishes(rest, whole, name, generator))

    few = objective.first_samples(_SAMPLES)
    (found,) = few.over_batches(probe)
    return found


def _vanishes(rest: BatchCurvature, whole: BatchCurvature, name: str, generator: torch.Generator) -> bool:
    """Return whether a random product with the residual part is nothing but rounding."""
    gradient = whole.gradient(name)
    if not gradient.any():
        return False  # without a gradient on these samples a vanishing product would prove nothing
    vector = torch.randn(gradient.numel(), generator=generator, dtype=torch.float64).to(gradient)
    size = _norm(rest.product([name], vector))
    return size == 0 or size <= _TOLERANCE[gradient.dtype] * _norm(whole.product([name], vector))


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach()))


def first_order_samples(
    batch: BatchLoss,
    blocks: Mapping[str, Sequence[str]],
    parameters: Mapping[str, nn.Parameter],
    *,
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
        Samples of each block, (probes,), or nothing if S cannot be factored.
    """
    root = curvature_root(batch.value, batch.outputs, generator)
    if root is None:
        return None
    names = sorted({name for members in blocks.values() for name in members})
    wanted = [parameters[name] for name in names]

    def pull_back(signs: Tensor) -> dict[str, float]:
        gradients = torch.autograd.grad(batch.outputs, wanted, root(signs), retain_graph=True, allow_unused=True)
        squares = {
            name: 0.0 if gradient is None else float(gradient.double().square().sum())
            for name, gradient in zip(names, gradients, strict=True)
        }
        return {block: sum(squares[name] for name in members) for block, members in blocks.items()}

    return factored(pull_back, batch.outputs, probes, generator)
