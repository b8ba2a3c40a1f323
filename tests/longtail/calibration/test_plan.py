import numpy as np
import pytest

from longtail.calibration import plan as plans
from longtail.calibration.plan import ClassFactors, Plan
from longtail.calibration.sampling import Calibration, make_recipe
from longtail.calibration.tukey import tukey_transform
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


@pytest.mark.parametrize("tukey", [0.0, 0.5, 2.0])
def test_statistics_are_of_the_transformed_rows(tukey):
    X, codes = make()
    factors = ClassFactors(X, codes, len(COUNTS), K, 0.0, tukey=tukey)
    for index, count in enumerate(COUNTS):
        rows = tukey_transform(X[codes == index], tukey)
        np.testing.assert_allclose(factors.rows(index), rows)
        np.testing.assert_allclose(factors.means[index], rows.mean(axis=0))
        if count > 1:
            np.testing.assert_allclose(factors.average_covariance(np.array([index])), np.cov(rows.T), atol=1e-12)
            factor = factors.factor(index)
            if count <= D:
                np.testing.assert_allclose(factor.T @ factor, np.cov(rows.T) / K, atol=1e-12)


def test_what_the_transform_cannot_take_is_named():
    X, codes = make()
    with pytest.raises(InputError, match="1 features are negative"):
        ClassFactors(np.where(np.arange(D) == 3, X - 2 * (codes == 5)[:, None] * X, X), codes, 6, K, 0.0, tukey=0.5)
    with pytest.raises(InputError, match="features are too large for float64 when tukey is 3: scale them down"):
        ClassFactors(1e150 * X, codes, len(COUNTS), K, 0.0, tukey=3)


def test_clipped_rows_are_the_others_without_negative_entries():
    X, codes = make()
    factors, neighbours = ClassFactors(X, codes, len(COUNTS), K, 4.0), np.array([[0, 1, 2]])
    free, clipped = (
        Plan(factors, np.array([0]), np.array([50]), neighbours, Calibration(1.0, 4.0, 0.0, clip), X)
        for clip in (False, True)
    )
    one, other = (made.fill(0, np.random.default_rng(0), np.empty((50, D))) for made in (free, clipped))
    assert one.min() < 0
    np.testing.assert_array_equal(other, np.maximum(one, 0))


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
