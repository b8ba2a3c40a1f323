import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from longtail.gate.chance import falls_by_chance, rise_by_chance


def exact(gained, lost, weights):
    """Return the probability by going through all exchanges."""
    steps = [weight for weight, number in zip(weights, gained + lost, strict=True) for _ in range(number)]
    measured = (gained - lost) @ weights
    sums = [np.dot(signs, steps) for signs in itertools.product((-1, 1), repeat=len(steps))]
    return np.mean([total >= measured - 1e-9 for total in sums])


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_all_exchanges(seed):
    rng = np.random.default_rng(seed)
    gained, lost, weights = rng.integers(0, 3, 4), rng.integers(0, 2, 4), rng.random(4)
    expected = exact(gained, lost, weights)
    assert rise_by_chance(gained, lost, weights) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))


def test_no_difference_is_certain_by_chance():
    assert rise_by_chance(np.zeros(3, int), np.zeros(3, int), np.ones(3)) == 1.0


def test_falls_agree_with_the_exact_test_of_signs():
    gained, lost = np.array([0, 2, 5, 0]), np.array([4, 7, 5, 0])
    expected = [binomtest(4, 4, alternative="greater").pvalue, binomtest(7, 9, alternative="greater").pvalue]
    assert falls_by_chance(gained, lost)[:2] == pytest.approx(expected)
    assert falls_by_chance(gained, lost)[3] == 1.0
