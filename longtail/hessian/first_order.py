"""Where first derivatives give a Hessian block's trace, and that trace for all such blocks at once.

Let the loss depend on a parameter w only through a tensor z, the cut. If z is piecewise affine in w with the other
parameters fixed, the Hessian's block of w is J^T S J, with J = dz/dw and S the loss's second derivative in z. With z
the outputs that is the Gauss-Newton block, and it holds for all parameters of a network of convolutions, linear layers,
evaluation-mode normalisation, ReLU and pooling. A head that normalises its input (cosine) breaks it at the outputs,
but not at the input of that head, which is why the last layer's input is the second cut to try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.hessian.operators import BatchCurvature, BatchLoss, Objective, behind
from longtail.hessian.outputs import curvature_roots
from longtail.hessian.trace import factored

_SAMPLES = 8  # an activation function's curvature shows on any sample; few keep the check cheap
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}  # relative size of a product that is rounding


@dataclass(frozen=True)
class Affine:
    """The parameters whose Hessian block is J^T S J at a cut."""

    cut: int  # place in `BatchLoss.cuts`
    names: frozenset[str]


def find_affine(objective: Objective, generator: torch.Generator) -> Affine:
    """Find the parameters in which a cut is piecewise affine, by one random product each.

    The cut is the first one that is affine in the network's first parameter, or the outputs if none is.

    Args:
        objective: The objective; its first few samples are used.
        generator: Source of the products' vectors, on the CPU.

    Returns:
        The cut, and the names of the parameters with |H v| at most 1e-5 (float32: 1e-4) of |Hess v|, where H is
        the second derivative of z with the loss's gradient in z held constant.
    """

    def probe(batch: BatchLoss) -> Affine:
        whole = BatchCurvature(batch.value, few.parameters)
        rests = [BatchCurvature(behind(batch, cut), few.parameters) for cut in range(len(batch.cuts))]
        first = next(iter(few.parameters))
        cut = next((cut for cut, rest in enumerate(rests) if _vanishes(rest, whole, first, generator)), 0)
        return Affine(cut, frozenset(name for name in few.parameters if _vanishes(rests[cut], whole, name, generator)))

    few = objective.first_samples(_SAMPLES)
    (found,) = few.over_batches(probe)
    return found


def _vanishes(rest: BatchCurvature, whole: BatchCurvature, name: str, generator: torch.Generator) -> bool:
    """Return whether the loss sees a parameter only through the cut, and the cut is affine in it."""
    gradient = whole.gradient(name)
    tolerance = _TOLERANCE[gradient.dtype]
    if not gradient.any() or _norm(rest.gradient(name) - gradient) > tolerance * _norm(gradient):
        return False  # without a gradient on these samples a vanishing product would prove nothing
    vector = torch.randn(gradient.numel(), generator=generator, dtype=torch.float64).to(gradient)
    size = _norm(rest.product([name], vector))
    return size == 0 or size <= tolerance * _norm(whole.product([name], vector))


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach()))


def first_order_samples(
    batch: BatchLoss,
    cut: int,
    blocks: Mapping[str, Sequence[str]],
    parameters: Mapping[str, nn.Parameter],
    *,
    probes: int,
    generator: torch.Generator,
) -> dict[str, NDArray[np.float64]] | None:
    """Sample the traces of all blocks J^T S J of a batch, one or two first-order backward passes a probe.

    Args:
        batch: The batch's loss.
        cut: Place of z in the batch's cuts.
        blocks: Names of the parameters of each block.
        parameters: Parameters by name.
        probes: Samples to draw.
        generator: Source of the probes, on the CPU.

    Returns:
        Samples of each block, (probes,), or nothing if S cannot be factored.
    """
    z = batch.cuts[cut]
    names = sorted({name for members in blocks.values() for name in members})
    wanted = [parameters[name] for name in names]
    roots = curvature_roots(batch.value, z, _live(z, wanted, generator), generator)
    if roots is None:
        return None

    def pull_back(signs: Tensor) -> dict[str, float]:
        squares = dict.fromkeys(names, 0.0)
        for sign, root in roots:
            gradients = torch.autograd.grad(z, wanted, root(signs), retain_graph=True, allow_unused=True)
            for name, gradient in zip(names, gradients, strict=True):
                squares[name] += 0.0 if gradient is None else sign * float(gradient.double().square().sum())
        return {block: sum(squares[name] for name in members) for block, members in blocks.items()}

    return factored(pull_back, z, probes, generator)


def _live(z: Tensor, wanted: Sequence[nn.Parameter], generator: torch.Generator) -> Tensor:
    """Return which entries of z depend on the parameters: not its zeros, if a random pull-back finds them cut off."""
    dead = z.detach() == 0
    vector = dead * torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z)
    gradients = torch.autograd.grad(z, wanted, vector, retain_graph=True, allow_unused=True)
    cut_off = all(gradient is None or not gradient.any() for gradient in gradients)
    return ~dead if cut_off else torch.ones_like(dead)
