import numpy as np
import pytest
from scipy import stats

from longtail.calibration import sampling


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7, 2 * sampling._PAIRS + 3])
def test_normals_fill_every_element(dtype, size):
    out = np.full(size, np.nan, dtype)
    sampling.fill_normals(np.random.default_rng(0), out)
    assert np.isfinite(out).all()
    assert len(np.unique(out)) > 0.9 * size


def test_float32_normals_are_standard_normal_and_independent():
    out = np.empty((1000, 400), np.float32)
    sampling.fill_normals(np.random.default_rng(1), out)
    flat = out.ravel().astype(np.float64)
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((flat**power).mean() - moment) < 4 * np.sqrt(spread / len(flat))
    assert 4.2 < np.abs(flat).max() < 6.7
    # The two normals of one Box-Muller pair share a radius: neither they nor their squares may correlate.
    half = sampling._PAIRS
    first, second = flat[:half], flat[half : 2 * half]
    for a, b in ((first, second), (first**2, second**2)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(half)
    assert abs(np.corrcoef(flat[:-1], flat[1:])[0, 1]) < 4 / np.sqrt(len(flat))


@pytest.mark.parametrize("counts", [[10, 10, 4, 3, 1], [5, 5], [1], [7, 2]])
def test_budget_is_the_floor_share_and_a_random_remainder(counts):
    counts = np.array(counts)
    rows = np.random.default_rng(0).permutation(counts.sum())
    members = np.split(rows, np.cumsum(counts)[:-1])
    budget = sampling.share_budget(counts, members, np.random.default_rng(0))
    for count, own in zip(counts, members, strict=True):
        assert budget[own].sum() == counts.max() - count
        assert (budget[own] >= (counts.max() - count) // count).all()


@pytest.mark.parametrize(("fill", "expected"), [(0.0, 0), (0.3, 6), (0.5, 10), (2.0, 38)])
def test_fill_scales_the_shortfall(fill, expected):
    budget = sampling.share_budget(np.array([20, 1]), [np.arange(20), np.array([20])], np.random.default_rng(0), fill)
    assert not budget[:20].any()
    assert budget[20] == expected


def test_the_remainder_is_uniform_with_replacement():
    counts, rng = np.array([7, 4]), np.random.default_rng(0)
    members = [np.arange(7), np.arange(7, 11)]
    drawn = np.stack([sampling.share_budget(counts, members, rng)[7:] for _ in range(4000)])
    assert (drawn.sum(axis=1) == 3).all()
    assert drawn.max() == 3
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > 1e-3


def test_the_noise_is_folded_into_the_largest_class_above_d_rows():
    means, counts = np.eye(4, 3), np.array([9, 5, 3, 2])
    recipe = sampling.make_recipe(np.array([[0, 1], [3, 1], [2, 3]]), means, counts, 1e-4)
    np.testing.assert_array_equal(recipe.entries, [[4, 1], [3, 5], [2, 3]])
    np.testing.assert_array_equal(recipe.noisy, [False, False, True])
    without = sampling.make_recipe(np.array([[0, 1]]), means, counts, 0.0)
    np.testing.assert_array_equal(without.entries, [[0, 1]])
    assert not without.noisy.any()


def test_classes_of_one_sample_borrow():
    means, counts = np.array([[0.0], [1.0], [5.0], [9.0]]), np.array([1, 1, 2, 2])
    recipe = sampling.make_recipe(np.array([[0, 1], [1, 2]]), means, counts, 0.1)
    np.testing.assert_array_equal(recipe.entries, [[2, -1], [-1, 2]])
    np.testing.assert_allclose(recipe.scales, np.sqrt([2, 2]))
    assert recipe.noisy.all()
    without = sampling.make_recipe(np.array([[0, 1]]), means, counts, 0.1, np.array([2]))
    np.testing.assert_array_equal(without.entries, [[3, -1]])
    nobody = sampling.make_recipe(np.array([[0, 1]]), means, np.ones(4, int), 0.1)
    np.testing.assert_array_equal(nobody.entries, [[-1, -1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_reproduce_the_covariance(dtype):
    X = np.random.default_rng(0).random((50, 6)).astype(dtype)
    X[:, 4] = 0.0  # A feature that never fires: the covariance is singular.
    mean, expected = X.mean(axis=0, dtype=np.float64), np.cov(X.T.astype(np.float64)) / 3
    thin = sampling.thin_factor(X, mean, 1 / (3 * 49))
    plain, folded = sampling.full_factors(X, mean, 1 / (3 * 49), [0.0, 0.01])
    tolerance = 5 * np.finfo(dtype).eps
    for factor, covariance in ((thin, expected), (plain, expected), (folded, expected + 0.01 * np.eye(6))):
        assert factor.dtype == dtype
        np.testing.assert_allclose(factor.T.astype(np.float64) @ factor, covariance, atol=tolerance)


def test_a_full_class_of_equal_rows_has_no_spread():
    (factor,) = sampling.full_factors(np.full((9, 3), 0.7), np.full(3, 0.7), 1.0, [0.0])
    np.testing.assert_allclose(factor, 0, atol=1e-12)


def test_the_square_root_survives_a_failing_cholesky():
    indefinite = np.diag([1.0, 1e-3, -1e-9])
    root = sampling._square_root(indefinite, 0.0)
    np.testing.assert_allclose(root.T @ root, indefinite, atol=1e-8)


def test_the_correlated_part_is_the_sum_of_its_factors():
    # Factors of rank one point along axes, so each row shows which factors it was given.
    factors = {0: np.array([[1.0, 0, 0]]), 1: np.array([[0, 1.0, 0]]), 5: np.array([[0, 0, 1.0]])}
    entries = np.array([[0, 1], [5, -1], [1, 5], [-1, -1]])
    out = np.full((4, 3), 10.0)
    sampling.add_correlated(out, entries, np.ones(4), factors.__getitem__, np.random.default_rng(0))
    np.testing.assert_array_equal(out != 10, [[1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0]])
    doubled = np.full((4, 3), 10.0)
    sampling.add_correlated(doubled, entries, np.full(4, 2.0), factors.__getitem__, np.random.default_rng(0))
    np.testing.assert_allclose(doubled - 10, 2 * (out - 10))


def test_noise_goes_to_the_rows_that_need_it():
    out = np.zeros((4000, 3))
    noisy = np.arange(4000) % 2 == 0
    sampling.add_noise(out, noisy, 0.25, 0.0, np.random.default_rng(0))
    assert not out[~noisy].any()
    assert abs(out[noisy].var() - 0.25) < 4 * 0.25 * np.sqrt(2 / 6000)
    common = np.zeros((4000, 3))
    sampling.add_noise(common, np.zeros(4000, bool), 0.0, 4.0, np.random.default_rng(0))
    assert (common == common[:, :1]).all()
    assert abs(common[:, 0].var() - 4) < 4 * 4 * np.sqrt(2 / 4000)
