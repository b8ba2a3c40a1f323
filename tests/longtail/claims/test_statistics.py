import math

import numpy as np
import pytest
from scipy import stats

from longtail.claims.statistics import (
    Interval,
    correlation_interval,
    course,
    mean_interval,
    ratio_interval,
    record_lows,
    share_interval,
    value_at_loss,
)
from longtail.errors import InputError


def test_mean_interval_is_that_of_a_table():
    """Mean 3, deviation sqrt(2.5) and five values: the quantile is 2.776 (four degrees of freedom)."""
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (found.value, found.units) == (3, 5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(2.0, 3.0, (2000, 5))
    covered = np.mean([found.low <= 2.0 <= found.high for found in map(mean_interval, draws)])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000)


def test_one_value_and_equal_values_have_no_width():
    assert mean_interval([2.5]) == Interval(2.5, 2.5, 2.5, 1)
    assert mean_interval([2.5, 2.5]) == Interval(2.5, 2.5, 2.5, 2)
    assert str(mean_interval([2.5])) == "2.5"
    assert str(mean_interval([1.0, 3.0])) == "2 [-10.7, 14.7]"


def test_interval_ends_where_values_must():
    found = mean_interval([-1.0, -0.9], (-1, 1))
    assert (found.low, found.value) == (-1, -0.95)
    assert found.high == pytest.approx(-0.95 + 12.7062 * 0.05, abs=1e-4)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(InputError, match="has no mean"):
        mean_interval(values)


def test_ratio_interval_is_of_the_geometric_mean():
    found = ratio_interval(np.log([0.5, 2.0]))
    assert found.value == pytest.approx(1.0)
    assert found.low * found.high == pytest.approx(1.0)


def test_share_has_the_exact_binomial_interval():
    """All of five: the lower end is the share that gives it with 2.5 % probability."""
    found = share_interval(5, 5)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 5))
    assert (found - 0.6).low == pytest.approx(0.025 ** (1 / 5) - 0.6)
    assert share_interval(1, 1) == Interval(1, 1, 1, 1)


def test_correlation_tells_a_planted_rank_order_from_none():
    random = np.random.default_rng(3)
    x = random.normal(size=20)
    planted = correlation_interval(x, np.exp(x) + 0.1 * random.normal(size=20))
    assert planted.low > 0.8
    y = random.normal(size=20).round(1)  # with ties
    absent = correlation_interval(x, y)
    assert absent.low < 0 < absent.high
    assert absent.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert correlation_interval(x, -x).high == pytest.approx(-1)


def test_correlation_is_the_same_each_time():
    x, y = np.random.default_rng(0).normal(size=(2, 12))
    assert correlation_interval(x, y) == correlation_interval(x, y)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, 4])])
def test_correlation_of_too_few_or_constant_values_is_none(x, y):
    assert correlation_interval(x, y) is None


def test_course_about_a_peak():
    found = course([0, 1, 2, 4, 8], [2.0, 8.0, 4.0, 2.0, 1.0])
    assert (found.peak_epoch, found.rise, found.fall) == (1, 4.0, 0.125)
    assert found.correlation == pytest.approx(-1)


def test_course_that_ends_at_its_peak_fell_nowhere():
    found = course([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0])
    assert (found.correlation, found.fall, found.rise) == (0, 1, 4)


def test_course_from_zero_is_finite():
    assert math.isfinite(course([0, 1], [0.0, 2.0]).rise)
    assert course([0, 1], [0.0, 0.0]).rise == 1


def test_value_at_loss_follows_a_power_law_exactly():
    losses = [2.0, 1.0, 0.3, 0.05]
    assert value_at_loss(losses, [7 * loss**1.5 for loss in losses], 0.1) == pytest.approx(7 * 0.1**1.5)


def test_value_at_loss_is_of_the_first_time_the_loss_comes_so_low():
    losses, values = [2.0, 1.0, 1.5, 0.5], [10.0, 8.0, 1000.0, 2.0]
    assert value_at_loss(losses, values, 1.0) == pytest.approx(8.0)
    assert value_at_loss(losses, values, 0.75) == pytest.approx(
        math.exp(np.interp(math.log(0.75), [math.log(0.5), 0.0], [math.log(2), math.log(8)]))
    )


def test_record_lows():
    assert record_lows([3.0, 3.0, 2.0, 2.5, 1.0]) == [0, 2, 4]


def test_loss_that_is_never_reached_is_refused():
    with pytest.raises(InputError, match=r"stays above 0\.1 \(lowest 0\.5\): train longer"):
        value_at_loss([1.0, 0.5], [3.0, 2.0], 0.1)
