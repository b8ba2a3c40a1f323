"""How probable a difference between two equal classifiers is, by which images only one of them gets right."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Counts = NDArray[np.int64]
_DRAWS_AT_ONCE = 1 << 21


def rise_by_chance(
    gained: Counts, lost: Counts, weights: NDArray[np.float64], *, resamples: int = 4000, seed: int = 0
) -> float:
    """Return the probability that equal classifiers differ in a weighted sum by as much as was measured, or more.

    Two equal classifiers could be exchanged at each test image, so each image that only one of them gets right is a
    gain or a loss with probability 1/2 (a randomisation test, Fisher 1935): this holds for any number of images, where
    a bootstrap interval is too narrow.

    Args:
        gained: (C,) test images of each class that the first classifier alone gets right.
        lost: (C,) those that the second alone gets right.
        weights: (C,) of an image of each class.
        resamples: Number of random exchanges.
        seed: Of these.

    Example:
        >>> round(rise_by_chance(np.array([3]), np.array([0]), np.array([1.0])), 2)
        0.12
    """
    kept = (gained + lost > 0) & (weights > 0)
    gained, lost, weights = gained[kept], lost[kept], weights[kept]
    measured = float((gained - lost) @ weights)
    generator, reached, done = np.random.default_rng(seed), 0, 0
    while done < resamples:
        rows = min(resamples - done, max(1, _DRAWS_AT_ONCE // max(len(weights), 1)))
        wins = generator.binomial(gained + lost, 0.5, (rows, len(weights)))
        reached += int(((2 * wins - gained - lost) @ weights >= measured - 1e-9).sum())
        done += rows
    return (1 + reached) / (1 + resamples)


def falls_by_chance(gained: Counts, lost: Counts) -> NDArray[np.float64]:
    """Return for each class (C,) the probability that equal classifiers lose as many of its images, or more (exact).

    >>> falls_by_chance(np.array([0, 1]), np.array([3, 1])).tolist()
    [0.125, 0.75]
    """
    return np.asarray(binom.sf(lost - 1, gained + lost, 0.5), dtype=np.float64)
