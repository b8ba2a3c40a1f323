"""Intervals and rank correlations of what was measured on a few networks."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from longtail.errors import InputError

CONFIDENCE = 0.95
_RESAMPLES = 2000
_TINY = 1e-12
_LEAST_TIMES = 3  # with fewer a rank correlation is 1 or -1 whatever happens


@dataclass(frozen=True)
class Interval:
    """A value with the range that holds it with a confidence of 95 %; without a range if it is of one network."""

    value: float
    low: float
    high: float
    units: int  # networks, or seeds, that it is of

    def exponential(self) -> "Interval":
        """Return the interval of ratios whose natural logarithms this one is of."""
        return Interval(math.exp(self.value), math.exp(self.low), math.exp(self.high), self.units)

    def __sub__(self, constant: float) -> "Interval":
        """Return the interval of the value less a constant."""
        return Interval(self.value - constant, self.low - constant, self.high - constant, self.units)

    def __str__(self) -> str:
        if self.units < 2:
            return f"{self.value:.3g}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_interval(values: ArrayLike, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """Return the mean of independent values with Student's t-interval.

    Values that are all equal have an interval of no width, and a single value has none but itself.

    Args:
        values: (n,) one of each seed.
        bounds: Between which such values must be; the interval ends there.

    Raises:
        InputError: If there is none, or one is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise InputError(f"{numbers.tolist()} has no mean: measure one finite value or more")
    mean, error = float(numbers.mean()), 0.0
    if len(numbers) > 1:
        error = float(stats.sem(numbers))
    if error == 0:
        return Interval(mean, mean, mean, len(numbers))
    low, high = stats.t.interval(CONFIDENCE, len(numbers) - 1, loc=mean, scale=error)
    return Interval(mean, max(float(low), bounds[0]), min(float(high), bounds[1]), len(numbers))


def share_interval(hits: int, total: int) -> Interval:
    """Return a share with its exact binomial interval (Clopper and Pearson); no interval for a single trial."""
    if total < 2:
        return Interval(float(hits), float(hits), float(hits), total)
    found = stats.binomtest(hits, total).proportion_ci(CONFIDENCE)
    return Interval(hits / total, float(found.low), float(found.high), total)


def ratio_interval(logarithms: ArrayLike) -> Interval:
    """Return the geometric mean of ratios with its interval, from their natural logarithms (n,)."""
    return mean_interval(logarithms).exponential()


def correlation_interval(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Interval | None:
    """Return Spearman's rank correlation with a percentile bootstrap interval over the pairs.

    Nothing if there are fewer than three pairs, or one side is constant.

    Args:
        x: (n,) values.
        y: (n,) values of the same networks.
        seed: Of the resampling.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(first) < _LEAST_TIMES or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    found = stats.bootstrap(
        (first, second),
        _spearman,
        paired=True,
        n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(_spearman(first, second)), float(found.low), float(found.high), len(first))


@dataclass(frozen=True)
class Course:
    """How a positive quantity goes over the epochs, about its peak."""

    peak_epoch: int
    rise: float  # peak over first value
    fall: float  # last value over peak
    correlation: float  # Spearman's, of epoch and value, from the peak on


def course(epochs: Sequence[int], values: Sequence[float]) -> Course:
    """Return how a quantity rises and falls.

    A peak so late that fewer than three values are left has a correlation of 0: nothing was seen to fall.

    Args:
        epochs: Ascending.
        values: One for each epoch.
    """
    numbers = np.asarray(values, dtype=np.float64)
    peak = int(numbers.argmax())
    rest = numbers[peak:]
    falls = len(rest) >= _LEAST_TIMES
    first, top = float(numbers[0]), float(numbers[peak])
    return Course(
        peak_epoch=int(epochs[peak]),
        rise=top / max(first, _TINY * top) if top > 0 else 1.0,
        fall=float(numbers[-1]) / top if top > 0 else 1.0,
        correlation=float(_spearman(epochs[peak:], rest)) if falls else 0.0,
    )


def record_lows(losses: Sequence[float]) -> list[int]:
    """Return the places at which a loss is lower than it ever was before.

    >>> record_lows([2.0, 1.0, 1.5, 0.5])
    [0, 1, 3]
    """
    lowest = np.minimum.accumulate(losses)
    return [place for place, value in enumerate(losses) if place == 0 or value < lowest[place - 1]]


def value_at_loss(losses: Sequence[float], values: Sequence[float], loss: float) -> float:
    """Return a positive quantity when the loss first comes down to a level, between checkpoints by interpolation.

    Logarithm against logarithm: traces and losses fall by decades. Checkpoints at which the loss is no lower than it
    was before are passed over.

    Args:
        losses: Training loss at each checkpoint, in order of time.
        values: The quantity at each.
        loss: The level.

    Raises:
        InputError: If the loss never comes so low.
    """
    kept, history = record_lows(losses), np.asarray(losses, dtype=np.float64)
    lowest = history.min()
    if lowest > loss * (1 + 1e-9):
        raise InputError(f"the training loss stays above {loss:.3g} (lowest {lowest:.3g}): train longer")
    x, y = np.log(history[kept]), np.log(np.asarray(values, dtype=np.float64)[kept])
    return float(np.exp(np.interp(np.log(loss), x[::-1], y[::-1])))


def _spearman(x: ArrayLike, y: ArrayLike, axis: int = -1) -> Any:
    """Return the rank correlation, 0 where one side is constant, as in some resamples; of many resamples at once."""
    ranks = (stats.rankdata(values, axis=axis) for values in (x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return np.nan_to_num(stats.pearsonr(*ranks, axis=axis).statistic)
