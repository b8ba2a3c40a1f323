"""The training rows that curvature is measured on."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUBSET_SEED = 0


def balanced_rows(labels: ArrayLike, per_class: int) -> NDArray[np.int64]:
    """Return a fixed class-balanced subset: the same rows whatever the run's seed, so that runs can be compared.

    Args:
        labels: (N,) class of each row.
        per_class: Rows of a class; one that has fewer gives all of its own.

    Returns:
        Row numbers, ascending.
    """
    generator, labels = np.random.default_rng(SUBSET_SEED), np.asarray(labels)
    chosen = [generator.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))
