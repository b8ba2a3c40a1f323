"""Bootstrap intervals of accuracies, and of the difference between two classifiers on the same test set.

Test images are drawn again within their class, so every resample has the classes as often as the test set. What is
drawn is the number of right predictions of a class, which is binomial (trinomial for a pair): the same distribution
as drawing images one by one, at a cost that depends on the classes alone. A resample of n images varies n / (n - 1)
times too little, which is corrected, as it matters for classes with few test images; a class with one image, which has
no spread of its own, is given that of all such classes together.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

WHOLE = "top1"
"""Key of the share of all test images; the other keys are groups, the mean of the accuracies of their classes."""
_DRAWS_AT_ONCE = 1 << 21

Interval = tuple[float, float]
Counts = NDArray[np.int64]


def bootstrap_intervals(
    labels: Counts,
    predictions: Counts,
    groups: Sequence[str],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the interval of each accuracy in percent.

    Args:
        labels: (N,) true classes in `[0, C)`.
        predictions: (N,) predicted classes.
        groups: (C,) group of each class.
        level: Probability that an interval shall cover.
        resamples: Number of resamples.
        seed: Of the resamples.

    Returns:
        Lower and upper end by `top1` and by each group that has a tested class.

    Example:
        >>> bootstrap_intervals(np.array([0, 0, 1]), np.array([0, 0, 1]), ["many", "few"])["many"]
        (100.0, 100.0)
    """
    none = np.zeros(len(labels), dtype=bool)
    found = _intervals(labels, predictions == labels, none, groups, level, resamples, seed)
    return {name: (max(low, 0.0), min(high, 100.0)) for name, (low, high) in found.items()}


def paired_intervals(
    labels: Counts,
    first: Counts,
    second: Counts,
    groups: Sequence[str],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the interval of each difference, the first classifier's accuracy less the second's, in points.

    Args:
        labels: (N,) true classes in `[0, C)`.
        first: (N,) predictions of one classifier.
        second: (N,) predictions of the other; -1 for a class that the labels do not have.
        groups: (C,) group of each class.
        level: Probability that an interval shall cover.
        resamples: Number of resamples.
        seed: Of the resamples.

    Returns:
        Lower and upper end by `top1` and by each group that has a tested class.
    """
    right, other = first == labels, second == labels
    return _intervals(labels, right & ~other, other & ~right, groups, level, resamples, seed)


def class_weights(support: Counts, groups: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return for `top1` and each group with a tested class the weight (C,) of one right test image of each class.

    A weighted sum of a classifier's right predictions by class is its accuracy in percent.
    """
    tested, names = support > 0, np.array(groups)
    weights = {WHOLE: np.full(len(support), 100.0 / support.sum())}
    for name in dict.fromkeys(groups):
        members = tested & (names == name)
        if members.any():
            weights[name] = np.where(members, 100.0 / (np.maximum(support, 1) * members.sum()), 0.0)
    return weights


def _intervals(
    labels: Counts,
    gained: NDArray[np.bool_],
    lost: NDArray[np.bool_],
    groups: Sequence[str],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """Return the intervals of sums of +1 for what is gained and -1 for what is lost."""
    size = len(groups)
    support = np.bincount(labels, minlength=size)
    wins, losses = (np.bincount(labels[chosen], minlength=size) for chosen in (gained, lost))
    weights = class_weights(support, groups)
    table = np.stack(list(weights.values()), axis=1)
    draws = np.concatenate(list(_resampled(wins, losses, support, table, resamples, np.random.default_rng(seed))))
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(ends[0, place]), float(ends[1, place])) for place, name in enumerate(weights)}


def _resampled(
    wins: Counts, losses: Counts, support: Counts, table: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield sums (r, groups) of resamples, a part of them at a time; classes that cannot vary cost nothing."""
    tested, single = np.maximum(support, 1), support == 1
    win, lose = wins / tested, losses / tested
    if single.any():
        win[single], lose[single] = win[single].mean(), lose[single].mean()
    measured = (wins - losses) @ table
    kept = np.flatnonzero((win * (1 - win) > 0) | (lose * (1 - lose) > 0))
    win, lose, support, table = win[kept], lose[kept], support[kept], table[kept]
    after = np.divide(lose, 1 - win, out=np.zeros(len(kept)), where=win < 1).clip(max=1.0)
    spread = np.sqrt(support / np.maximum(support - 1, 1))
    expected = support * (win - lose)
    for start in range(0, resamples, rows := max(1, _DRAWS_AT_ONCE // max(len(kept), 1))):
        drawn = rng.binomial(support, win, (min(rows, resamples - start), len(kept)))
        if after.any():
            drawn -= rng.binomial(support - drawn, after)
        yield measured + ((drawn - expected) * spread) @ table
