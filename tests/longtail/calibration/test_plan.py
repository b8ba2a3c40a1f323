import numpy as np
import pytest

from longtail.calibration import plan as plans
from longtail.calibration.plan import ClassFactors, Plan
from longtail.calibration.sampling import Calibration, make_recipe
from longtail.errors import InputError

COUNTS = np.array([30, 12, 8, 5, 2, 1])
D, K = 8, 3


def make(dtype=np.float64):
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
    return (rng.random((len(codes), D)) + codes[:, None]).astype(dtype), codes


@pytest.mark.parametrize("kept_bytes", [0, 1 << 26])
def test_factors_add_up_to_the_dense_covariance(monkeypatch, kept_bytes):
    monkeypatch.setattr(plans, "_KEPT_BYTES", kept_bytes)
    X, codes = make()
    factors = ClassFactors(X, codes, len(COUNTS), K, 0.01)
    neighbours = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]])
    recipe = make_recipe(neighbours, factors.means, factors.counts, 0.01)
    factors.keep(np.unique(recipe.entries[recipe.entries >= 0]).tolist())
    for entries, scale, noisy, classes in zip(recipe.entries, recipe.scales, recipe.noisy, neighbours, strict=True):
        parts = [scale * factors.factor(int(entry)) for entry in entries if entry >= 0]
        found = sum(part.T @ part for part in parts) + noisy * 0.01 * np.eye(D)
        lenders = [index for index in classes if COUNTS[index] > 1]
        expected = np.mean([np.cov(X[codes == index].T) for index in lenders], axis=0) + 0.01 * np.eye(D)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert all(len(part) <= D for part in parts)
    assert len(factors._kept) == (6 if kept_bytes else 3)


def test_classes_that_lie_together_are_views():
    X, codes = make()
    order = np.argsort(codes, kind="stable")
    assert np.shares_memory(ClassFactors(X[order].copy(), codes[order], 6, K, 0.0).rows(1), X) is False
    grouped = X[order]
    assert np.shares_memory(ClassFactors(grouped, codes[order], 6, K, 0.0).rows(1), grouped)
    np.testing.assert_array_equal(ClassFactors(X, codes, 6, K, 0.0).rows(1), X[codes == 1])


def test_bad_features_are_found_by_way_of_the_means():
    X, codes = make()
    X[4, 2] = np.inf
    with pytest.raises(InputError, match="1 features are NaN or infinite"):
        ClassFactors(X, codes, len(COUNTS), K, 0.0)


def test_without_spread_rows_are_the_calibrated_means(monkeypatch):
    monkeypatch.setattr(plans, "_TASK_ROWS", 4)
    X, codes = np.array([[1.0, 4.0], [3.0, 8.0]]), np.array([0, 1])
    factors = ClassFactors(X, codes, 2, 2, 0.0)
    plan = Plan(factors, np.array([0, 1]), np.array([5, 2]), np.array([[0, 1], [1, 0]]), Calibration(2.0, 0.0, 0.0), X)
    assert [(span.start, span.stop) for span in plan.spans] == [(0, 4), (4, 7)]
    np.testing.assert_array_equal(plan.seeds_of_rows, [0, 0, 0, 0, 0, 1, 1])
    rows = np.empty((7, 2))
    for task, span in enumerate(plan.spans):
        plan.fill(task, np.random.default_rng(0), rows[span])
    expected = (X**2 + X.sum(axis=0)) / 3
    np.testing.assert_allclose(rows, np.repeat(expected, [5, 2], axis=0))
