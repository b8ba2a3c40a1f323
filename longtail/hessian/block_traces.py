"""Traces of the Hessian's diagonal blocks: first derivatives where they suffice, products for the rest."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.hessian.curvature import BlockOperator, Curvature
from longtail.hessian.first_order import affine_parameters, first_order_samples
from longtail.hessian.operators import Objective
from longtail.hessian.trace import TraceEstimate, combine, hutchinson

Blocks = Mapping[str, Sequence[str]]  # names of the parameters of each block
_Samples = dict[str, NDArray[np.float64]]

_PART = 16  # samples: smaller parts leave less variance, larger ones use the processor better
_FORWARD = 1 / 3  # of a gradient
_BACKWARD = 2 / 3


@dataclass(frozen=True)
class BlockTraces:
    """Trace of every block, and how it was found."""

    estimates: dict[str, TraceEstimate]
    first_order: frozenset[str]  # parameters served by first derivatives
    cost: float  # gradient equivalents, by operation count


def block_traces(
    objective: Objective,
    blocks: Blocks,
    probes: int,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
    *,
    curvature: str = "hessian",
) -> BlockTraces:
    """Estimate the trace of every block.

    A block's trace is the sum over its parameters, so a block may be served by both ways: parameters whose block is
    a Gauss-Newton block (all of them for `ggn`; for `hessian` those that `longtail.hessian.first_order` finds) share
    one first-order backward pass a probe with all other blocks, the rest takes a product of its own. Probes are drawn
    afresh for every part of the data, so parts are small.

    Args:
        objective: The objective; its batches are cut into parts of at most 16 samples.
        blocks: Names of the parameters of each block.
        probes: Probes of each block for each part.
        generator: Source of the probes, on the CPU.
        progress: Called with phases done and their number.
        curvature: `hessian`, `ggn` or `residual`.

    Returns:
        The estimates; the check with few samples is not in their cost.
    """
    objective = objective.in_parts(_PART)
    names = _gauss_newton(objective, curvature, generator)
    first = _first_order(objective, _restricted(blocks, names), probes, generator)
    if first is None:
        names, first = frozenset(), [{} for _ in objective.sizes]
    progress(1, 2)
    rest = _restricted(blocks, set(objective.parameters) - names)
    second = _second_order(objective, rest, probes, generator, curvature)
    progress(2, 2)
    shares = [size / objective.samples for size in objective.sizes]
    nothing = np.zeros(probes)
    estimates = {
        block: combine(
            [a.get(block, nothing) + b.get(block, nothing) for a, b in zip(first, second, strict=True)], shares
        )
        for block in blocks
    }
    cost = bool(names) * (_FORWARD + probes * _BACKWARD)
    cost += bool(rest) + probes * sum(block_cost(objective, members) for members in rest.values())
    return BlockTraces(estimates, names, cost)


def _gauss_newton(objective: Objective, curvature: str, generator: torch.Generator) -> frozenset[str]:
    """Return the parameters whose block of the curvature is the Gauss-Newton block."""
    if curvature == "hessian":
        return affine_parameters(objective, generator)
    return frozenset(objective.parameters) if curvature == "ggn" else frozenset()


def block_cost(objective: Objective, names: Sequence[str]) -> float:
    """Return the cost of one product with a block over a kept graph, in gradients, counting operations.

    The product passes the layers from the block's first one upwards twice (2/3 of a gradient for the whole
    network), and the block's own layers twice more for their weights (4/3 for the whole network). Layers count
    as equal.

    Args:
        objective: The objective.
        names: The block's parameters.

    Returns:
        Gradient equivalents; 2 for the whole network.
    """
    order = list(objective.parameters)
    first = min(order.index(name) for name in names)
    return 2 / 3 * (1 - first / len(order)) + 4 / 3 * len(names) / len(order)


def _restricted(blocks: Blocks, names: Set[str]) -> dict[str, list[str]]:
    """Return the part of each block in a set of parameters, without blocks that have none."""
    parts = {block: [name for name in members if name in names] for block, members in blocks.items()}
    return {block: members for block, members in parts.items() if members}


def _first_order(
    objective: Objective, blocks: Blocks, probes: int, generator: torch.Generator
) -> list[_Samples] | None:
    """Return samples of each part's traces from first derivatives; nothing if a loss has no factor in the outputs."""
    if not blocks:
        return None
    samples = objective.over_batches(
        lambda batch: first_order_samples(batch, blocks, objective.parameters, probes=probes, generator=generator)
    )
    found = [sample for sample in samples if sample is not None]
    return found if len(found) == len(samples) else None


def _second_order(
    objective: Objective, blocks: Blocks, probes: int, generator: torch.Generator, curvature: str
) -> list[_Samples]:
    """Return samples of each part's traces, by products with its blocks."""
    if not blocks:
        return [{} for _ in objective.sizes]
    operator = BlockOperator(objective, blocks, curvature)
    like = {block: operator.like(block) for block in blocks}

    def sample(_share: float, curvature: Curvature) -> _Samples:
        def products(vectors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {block: curvature.product(blocks[block], vector) for block, vector in vectors.items()}

        return hutchinson(products, like, probes, generator)

    return operator.over_batches(sample)
