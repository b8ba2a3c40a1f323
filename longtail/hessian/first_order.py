"""Where the Hessian's diagonal blocks are Gauss-Newton blocks, and their traces from first derivatives.

If the outputs are piecewise affine in a parameter with the others fixed, its block of the Hessian is J^T S J, with J
the outputs' Jacobian and S the loss's second derivative in the outputs. That holds for all parameters of a network of
convolutions, linear layers, evaluation-mode normalisation, ReLU and pooling. It fails for smooth activations, tied
weights, and for the outputs of a cosine head, which normalises its input. There what the last layer reads takes the
outputs' place: it too is piecewise affine in each parameter below, so their blocks are J^T S J with its Jacobian J and
the loss's second derivative S in it, which may have negative eigenvalues.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.hessian.operators import BatchCurvature, BatchLoss, Objective, residual
from longtail.hessian.outputs import curvature_root
from longtail.hessian.processes import gathered
from longtail.hessian.trace import factored

_SAMPLES = 8  # an activation function's curvature shows on any sample; few keep the check cheap
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}  # relative size of a product that is rounding


def affine_parameters(objective: Objective, generator: torch.Generator) -> list[frozenset[str]]:
    """Find the parameters whose Hessian block is a Gauss-Newton block, by one random product each.

    Args:
        objective: The objective; its first few samples are used.
        generator: Source of the products' vectors, on the CPU.

    Returns:
        For each of `BatchLoss.cuts`, the names of the parameters that the loss depends on through it alone and with
        |H v| at most 1e-5 (float32: 1e-4) of |Hess v|, H the residual part; each parameter once.
    """

    def probe(batch: BatchLoss) -> list[frozenset[str]]:
        whole = BatchCurvature(batch.value, few.parameters)
        found: list[frozenset[str]] = []
        for cut in range(len(batch.cuts)):
            left = [name for name in few.parameters if not any(name in names for names in found)]
            rest = BatchCurvature(residual(batch, cut), {name: few.parameters[name] for name in left})
            found.append(frozenset(name for name in left if _vanishes(rest, whole, name, generator)))
        return found

    few = objective.first_samples(_SAMPLES)
    everywhere = gathered(few.over_batches(probe))
    return [frozenset.intersection(*found) for found in zip(*everywhere, strict=True)]


def _vanishes(rest: BatchCurvature, whole: BatchCurvature, name: str, generator: torch.Generator) -> bool:
    """Return whether the residual part has the whole gradient, and a random product with it is but rounding."""
    gradient = whole.gradient(name)
    if not gradient.any():
        return False  # without a gradient on these samples a vanishing product would prove nothing
    tolerance = _TOLERANCE[gradient.dtype]
    if _norm(rest.gradient(name) - gradient) > tolerance * _norm(gradient):
        return False
    vector = torch.randn(gradient.numel(), generator=generator, dtype=torch.float64).to(gradient)
    size = _norm(rest.product([name], vector))
    return size == 0 or size <= tolerance * _norm(whole.product([name], vector))


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach()))


def first_order_samples(
    batch: BatchLoss,
    blocks: Mapping[str, Sequence[str]],
    parameters: Mapping[str, nn.Parameter],
    *,
    probes: int,
    generator: torch.Generator,
    cut: int = 0,
) -> dict[str, NDArray[np.float64]] | None:
    """Sample the traces of all Gauss-Newton blocks of a batch, one first-order backward pass a probe.

    Where S has negative eigenvalues it is two passes.

    Args:
        batch: The batch's loss.
        blocks: Names of the parameters of each block.
        parameters: Parameters by name.
        probes: Samples to draw.
        generator: Source of the probes, on the CPU.
        cut: Which of `batch.cuts` the Jacobian and S are taken at.

    Returns:
        Samples of each block, (probes,), or nothing if S cannot be factored.
    """
    values = batch.cuts[cut]
    root = curvature_root(batch.value, values, generator)
    if root is None:
        return None
    names = sorted({name for members in blocks.values() for name in members})
    wanted = [parameters[name] for name in names]

    def squares(cotangent: Tensor) -> NDArray[np.float64]:
        gradients = torch.autograd.grad(values, wanted, cotangent, retain_graph=True, allow_unused=True)
        return np.array([0.0 if gradient is None else _norm(gradient) ** 2 for gradient in gradients])

    def pull_back(signs: Tensor) -> dict[str, float]:
        found = squares(root.positive(signs))
        if root.negative is not None:
            found = found - squares(root.negative(signs))
        by_name = dict(zip(names, found, strict=True))
        return {block: float(sum(by_name[name] for name in members)) for block, members in blocks.items()}

    return factored(pull_back, values, probes, generator)
