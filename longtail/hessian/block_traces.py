"""Traces of the Hessian's diagonal blocks: first derivatives where they suffice, products for the rest."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.hessian.curvature import BlockOperator, Curvature
from longtail.hessian.first_order import affine_parameters, first_order_samples
from longtail.hessian.journal import Journal
from longtail.hessian.operators import BatchLoss, Objective
from longtail.hessian.processes import gathered, rank, stream
from longtail.hessian.trace import TraceEstimate, combine, hutchinson, signs

Blocks = Mapping[str, Sequence[str]]  # names of the parameters of each block
_Samples = dict[str, NDArray[np.float64]]
_Parts = list[tuple[float, _Samples]]  # of each part of the data, its share and its samples

_PART = 16  # samples: smaller parts leave less variance, larger ones use the processor better
_WIDE = 0.1  # relative standard error of a trace that calls for products of its own
_CHECK, _SHARED, _OWN = 100, 101, 102
"""Streams of random numbers beside those of the cuts, which count from 0."""
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
    seed: int,
    progress: Callable[[int, int], None],
    journal: Journal,
    *,
    curvature: str = "hessian",
) -> BlockTraces:
    """Estimate the trace of every block.

    A block's trace is the sum over its parameters, so a block may be served in several ways. Parameters whose block is
    a Gauss-Newton block (all of them for `ggn`; for `hessian` those that `longtail.hessian.first_order` finds) share
    one or two first-order backward passes a probe with all other blocks. The rest shares one product a probe; a block
    whose trace that leaves uncertain by more than a tenth, as the off-diagonal blocks add to the variance, takes
    products of its own. Probes are drawn afresh for every part of the data, so parts are small.

    Args:
        objective: The objective; its batches are cut into parts of at most 16 samples.
        blocks: Names of the parameters of each block.
        probes: Probes of each block for each part.
        seed: Of the probes.
        progress: Called with phases done and their number.
        journal: Keeps the samples of each part.
        curvature: `hessian`, `ggn` or `residual`.

    Returns:
        The estimates; the check with few samples is not in their cost.
    """
    objective = objective.in_parts(_PART)
    sampler = _Sampler(objective, probes, seed, journal, curvature)
    served: list[frozenset[str]] = []
    first: list[_Parts] = []
    for cut, names in enumerate(gauss_newton_parameters(objective, curvature, seed)):
        found = sampler.first_order(_restricted(blocks, names), cut)
        if found is not None:
            served.append(names)
            first.append(found)
    progress(1, 3)
    first_order = frozenset[str]().union(*served)
    rest = _restricted(blocks, set(objective.parameters) - first_order)
    shared = sampler.shared(rest)
    progress(2, 3)
    estimates = _estimates(blocks, [*first, shared])
    wide = {
        block: members
        for block, members in rest.items()
        if len(rest) > 1 and estimates[block].stderr > _WIDE * abs(estimates[block].value)
    }
    estimates |= _estimates(wide, [*first, sampler.own(wide)])
    progress(3, 3)
    cost = sum(_FORWARD + probes * _BACKWARD * (1 + cut) for cut in range(len(served)))
    if rest:
        cost += 1 + probes * block_cost(objective, sorted({name for members in rest.values() for name in members}))
    cost += bool(wide) + probes * sum(block_cost(objective, members) for members in wide.values())
    return BlockTraces(estimates, first_order, cost)


def gauss_newton_parameters(objective: Objective, curvature: str, seed: int) -> list[frozenset[str]]:
    """Return the parameters whose block of a curvature is a Gauss-Newton block, for each of `BatchLoss.cuts`."""
    if curvature == "hessian":
        return affine_parameters(objective, stream(seed, _CHECK))
    return [frozenset(objective.parameters)] if curvature == "ggn" else []


def _estimates(blocks: Blocks, ways: Sequence[_Parts]) -> dict[str, TraceEstimate]:
    """Return the trace of each block, from the samples of the ways that serve its parameters."""
    parts = list(zip(*ways, strict=True))  # of each part of the data its share and samples, in each way
    shares = [part[0][0] for part in parts]
    return {
        block: combine(
            [np.sum([samples[block] for _, samples in part if block in samples], axis=0) for part in parts], shares
        )
        for block in blocks
    }


@dataclass(frozen=True)
class _Sampler:
    """Draws the samples of blocks of one curvature; of every part of the data, whichever process holds it."""

    objective: Objective
    probes: int
    seed: int
    journal: Journal
    curvature: str

    def first_order(self, blocks: Blocks, cut: int) -> _Parts | None:
        """Return samples from first derivatives; nothing if there is no block or no factor of S."""
        if not blocks:
            return None

        def sample(batch: BatchLoss) -> tuple[float, _Samples]:
            return batch.share, self._kept(
                batch.number,
                cut,
                lambda generator: (
                    first_order_samples(
                        batch, blocks, self.objective.parameters, probes=self.probes, generator=generator, cut=cut
                    )
                    or {}
                ),
            )

        parts = gathered(self.objective.over_batches(sample))
        return parts if all(samples for _, samples in parts) else None

    def shared(self, blocks: Blocks) -> _Parts:
        """Return samples from one product a probe for all blocks, (v_l)^T (A v)_l of each (arXiv 2605.25674)."""
        members = [name for name in self.objective.parameters if any(name in names for names in blocks.values())]
        sizes = [self.objective.parameters[name].numel() for name in members]

        def draw(curvature: Curvature, generator: torch.Generator) -> _Samples:
            vectors = [signs((sum(sizes),), like, generator) for _ in range(self.probes)]
            found = np.array([
                [float(piece.sum()) for piece in (vector * curvature.product(members, vector)).split(sizes)]
                for vector in vectors
            ])  # (probes, parameters)
            by_name = dict(zip(members, found.T, strict=True))
            return {block: np.sum([by_name[name] for name in names], axis=0) for block, names in blocks.items()}

        like = next(iter(self.objective.parameters.values())).detach()
        return self._second_order(blocks, _SHARED, draw)

    def own(self, blocks: Blocks) -> _Parts:
        """Return samples from one product a probe and block."""
        operator = BlockOperator(self.objective, blocks, self.curvature)
        like = {block: operator.like(block) for block in blocks}

        def draw(curvature: Curvature, generator: torch.Generator) -> _Samples:
            def products(vectors: dict[str, Tensor]) -> dict[str, Tensor]:
                return {block: curvature.product(blocks[block], vector) for block, vector in vectors.items()}

            return hutchinson(products, like, self.probes, generator)

        return self._second_order(blocks, _OWN, draw)

    def _second_order(self, blocks: Blocks, way: int, draw: Callable[[Curvature, torch.Generator], _Samples]) -> _Parts:
        if not blocks:
            return gathered([(size / self.objective.samples, {}) for size in self.objective.sizes])
        operator = BlockOperator(self.objective, blocks, self.curvature)

        def sample(number: int, share: float, make: Callable[[], Curvature]) -> tuple[float, _Samples]:
            return share, self._kept(number, way, lambda generator: draw(make(), generator))

        return gathered(operator.over_batches(sample))

    def _kept(self, number: int, way: int, draw: Callable[[torch.Generator], _Samples]) -> _Samples:
        """Return the samples of one part in one way, from the journal if they are there."""
        generator = stream(self.seed, way, number)
        found = self.journal.result(
            f"trace-{way}-{number}-{rank()}",
            lambda: {name: torch.from_numpy(values) for name, values in draw(generator).items()},
        )
        return {name: values.numpy() for name, values in found.items()}


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
