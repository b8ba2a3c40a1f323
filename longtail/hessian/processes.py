"""Sums and agreement over the processes of `torchrun`, each of which holds its own share of the batches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed


def rank() -> int:
    """Return this process's place among all; 0 where there is only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def total(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor


def gathered(values: list[Any]) -> list[Any]:
    """Return the lists of all processes as one, in the order of their ranks."""
    if not distributed.is_initialized():
        return values
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, values)
    return [value for part in parts for value in part]


def stream(seed: int, *place: int) -> torch.Generator:
    """Return random numbers of their own for one place of an analysis and this process, on the CPU.

    Args:
        seed: The analysis's seed.
        place: Numbers that tell the place from all others.
    """
    state = np.random.SeedSequence(seed, spawn_key=(rank(), *place)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
