"""Streams of random numbers that share nothing."""

import numpy as np
import torch

ORDER, AUGMENTATION, PROBES = 0, 1, 2


def generator(*seeds: int) -> torch.Generator:
    """Return a generator on the CPU for a run's seed, a stream, and the place in the run."""
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
