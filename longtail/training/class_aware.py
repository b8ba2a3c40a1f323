"""Class-aware sampling of real features."""

import torch
from torch import Tensor

SAMPLES_PER_CLASS = 4


def class_aware_order(labels: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Return rows in which all classes come equally often (Kang et al. 2020, as in the TailCalib authors' code).

    Classes come in an endless shuffled cycle; each drawn class gives four rows from an endless shuffled cycle of
    its own rows.

    Args:
        labels: (N,) int64.
        length: How many rows to return.
        generator: Draws the orders.

    Returns:
        (length,) int64 rows in [0, N).
    """
    present = labels.unique()
    draws = -(-length // SAMPLES_PER_CLASS)
    classes = present[_cycle(len(present), draws, generator)]  # (draws,)
    rows = torch.empty(draws, SAMPLES_PER_CLASS, dtype=torch.int64)
    for label in present.tolist():
        own = (labels == label).nonzero()[:, 0]
        turns = classes == label
        rows[turns] = own[_cycle(len(own), int(turns.sum()) * SAMPLES_PER_CLASS, generator)].view(-1, SAMPLES_PER_CLASS)
    return rows.flatten()[:length]


def _cycle(size: int, length: int, generator: torch.Generator) -> Tensor:
    """Return `length` indices of an endless shuffled cycle over `size` things."""
    rounds = -(-length // size)
    return torch.rand(rounds, size, generator=generator).argsort(dim=1).flatten()[:length]
