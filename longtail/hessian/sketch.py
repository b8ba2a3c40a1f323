"""Low-rank estimates of all layers' curvature from a few first-order backward passes that all layers share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longtail.hessian.journal import Journal
from longtail.hessian.operators import BatchLoss, Objective
from longtail.hessian.outputs import curvature_root
from longtail.hessian.processes import stream, total
from longtail.hessian.trace import signs

_STREAM = 103
_ROWS = 128  # vectors of each block: the more, the better the estimate, and the more memory
_RANK = 1e-6  # of the top eigenvalue of a sketch: smaller ones are rounding
_LEAST_PART, _MOST_PASSES = 8, 16
"""Samples of a part: fewer use the processor badly. Passes over the data, where it has few parts."""


@dataclass(frozen=True)
class Sketch:
    """A positive semi-definite estimate R^T R of a block by its eigenvalues; of R's rows, not of the block's size."""

    rows: Tensor  # (k, P)
    values: Tensor  # (k,) eigenvalues, ascending, float64
    vectors: Tensor  # (k, k) eigenvectors of R R^T, in columns, float64

    @property
    def ratio(self) -> float:
        """The second eigenvalue over the first."""
        return float(self.values[-2] / self.values[-1])

    def leading(self, count: int) -> list[Tensor]:
        """Return the leading eigenvectors, (P,), orthonormal but for rounding."""
        chosen = (self.vectors[:, -count:] / self.values[-count:].sqrt()).to(self.rows)
        return list(torch.linalg.qr(self.rows.T @ chosen.flip(1)).Q.T)

    def scaled(self, vector: Tensor, factor: Callable[[Tensor], Tensor]) -> Tensor:
        """Multiply a vector's component along each eigenvector with a factor, and leave the rest.

        Args:
            vector: The vector, (P,).
            factor: Takes the eigenvalues, (k,), and returns their factors.

        Returns:
            The vector, (P,).
        """
        components = self.vectors.T @ (self.rows @ vector).double()  # times the root of the eigenvalue
        inverse = torch.where(self.values > _RANK * self.values[-1], 1 / self.values, 0.0)
        return vector + self.rows.T @ (self.vectors @ ((factor(self.values) - 1) * inverse * components)).to(vector)


def sketches(
    objective: Objective, blocks: Mapping[str, Sequence[str]], seed: int, journal: Journal
) -> dict[str, Sketch]:
    """Return an estimate of every Gauss-Newton block.

    With S = R R^T and random signs e, the vector J_l^T R e has the covariance J_l^T S J_l. A backward pass over a part
    of the data gives one such vector of every layer, so small parts give many for the cost of one pass over all the
    data, and their outer products add up to an estimate of each block whose leading eigenvectors are near the block's.

    Args:
        objective: The objective.
        blocks: Names of the parameters of each block.
        seed: Of the signs.
        journal: Keeps the vectors.

    Returns:
        The estimate of each block, without those that are zero; nothing if S cannot be factored.
    """
    parts = objective.in_parts(max(_LEAST_PART, -(-objective.samples // _ROWS)))
    passes = _passes(objective.samples)
    wanted = {name: objective.parameters[name] for names in blocks.values() for name in names}
    size = sum(parameter.numel() for parameter in wanted.values())
    like = next(iter(wanted.values())).detach()
    factors = torch.zeros(_ROWS, size + 1, dtype=like.dtype, device=like.device)  # and how many parts had no root

    def add(batch: BatchLoss) -> None:
        generator = stream(seed, _STREAM, batch.number)
        root = curvature_root(batch.value, batch.outputs, generator)
        if root is None:
            factors[:, size] += 1
            return
        for number in range(passes):
            cotangent = (batch.share / passes) ** 0.5 * root.positive(
                signs(batch.outputs.shape, batch.outputs, generator)
            )
            gradients = torch.autograd.grad(
                batch.outputs, list(wanted.values()), cotangent, retain_graph=True, allow_unused=True
            )
            factors[(batch.number * passes + number) % _ROWS, :size] += torch.cat([
                torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()
                for gradient, parameter in zip(gradients, wanted.values(), strict=True)
            ])

    def compute() -> dict[str, Tensor]:
        parts.over_batches(add)
        return {"factors": total(factors)}

    found = journal.result("sketch", compute)["factors"].to(like.device)
    if found[:, size].any():
        return {}
    places = dict(zip(wanted, found[:, :size].split([p.numel() for p in wanted.values()], dim=1), strict=True))
    estimates = {block: _sketch(torch.cat([places[name] for name in names], dim=1)) for block, names in blocks.items()}
    return {block: sketch for block, sketch in estimates.items() if sketch.values[-1] > 0}


def sketch_cost(samples: int) -> float:
    """Return the cost of all sketches of so many samples, in gradients, by operation count."""
    return (1 + 2 * _passes(samples)) / 3


def _passes(samples: int) -> int:
    """Return how often the data is passed backward, so that parts of the least size give all rows."""
    return min(_MOST_PASSES, -(-_ROWS * _LEAST_PART // samples))


def _sketch(rows: Tensor) -> Sketch:
    values, vectors = torch.linalg.eigh((rows @ rows.T).double())
    return Sketch(rows, values.clamp(min=0), vectors)
