"""Start vectors for all layers' top eigenvectors from a few first-order backward passes that all layers share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from longtail.hessian.journal import Journal
from longtail.hessian.operators import BatchLoss, Objective
from longtail.hessian.outputs import curvature_root
from longtail.hessian.processes import stream, total
from longtail.hessian.trace import signs

_STREAM = 103


def sketched_starts(
    objective: Objective, blocks: Mapping[str, Sequence[str]], passes: int, seed: int, journal: Journal
) -> dict[str, Tensor]:
    """Return a vector near the top eigenvector of every Gauss-Newton block.

    With S = R R^T and random signs e, the vector J_l^T R e has the covariance J_l^T S J_l, so that the leading left
    singular vector of a few of them leans towards the top eigenvector: a far better start than a random vector.

    Args:
        objective: The objective.
        blocks: Names of the parameters of each block.
        passes: Backward passes over the data; memory is as many vectors of each block.
        seed: Of the signs.
        journal: Keeps the vectors.

    Returns:
        A vector of each block, (P,), not normalised; nothing if S cannot be factored.
    """
    wanted = {name: objective.parameters[name] for names in blocks.values() for name in names}
    size = sum(parameter.numel() for parameter in wanted.values())
    like = next(iter(wanted.values())).detach()
    factors = torch.zeros(passes, size + 1, dtype=like.dtype, device=like.device)  # and how many batches had no root

    def add(batch: BatchLoss) -> None:
        generator = stream(seed, _STREAM, batch.number)
        root = curvature_root(batch.value, batch.outputs, generator)
        if root is None:
            factors[:, size] += 1
            return
        for row in factors:
            cotangent = batch.share**0.5 * root.positive(signs(batch.outputs.shape, batch.outputs, generator))
            gradients = torch.autograd.grad(
                batch.outputs, list(wanted.values()), cotangent, retain_graph=True, allow_unused=True
            )
            row[:size] += torch.cat([
                torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()
                for gradient, parameter in zip(gradients, wanted.values(), strict=True)
            ])

    def compute() -> dict[str, Tensor]:
        objective.over_batches(add)
        return {"factors": total(factors)}

    found = journal.result("sketch", compute)["factors"].to(like.device)
    if found[:, size].any():
        return {}
    places = dict(zip(wanted, found[:, :size].split([p.numel() for p in wanted.values()], dim=1), strict=True))
    return {block: _leading(torch.cat([places[name] for name in names], dim=1)) for block, names in blocks.items()}


def _leading(rows: Tensor) -> Tensor:
    """Return the leading right singular vector of a few rows, (k, P), times its singular value."""
    _, vectors = torch.linalg.eigh((rows @ rows.T).double())
    return torch.mv(rows.T, vectors[:, -1].to(rows))
