import numpy as np
import pytest

from longtail.calibration.statistics import ClassStatistics, compress_factor, group_rows

COUNTS = [40, 9, 6, 2, 1, 0]


def make(seed=0, n_features=7):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
    return rng.normal(100, 1, (len(codes), n_features)), codes


def assert_same(found, expected):
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-12)
    for index, count in enumerate(expected.counts):
        if count > 1:
            np.testing.assert_allclose(found.covariance(index), expected.covariance(index), rtol=1e-10, atol=1e-10)


def test_one_pass_agrees_with_numpy():
    X, codes = make()
    found = ClassStatistics.from_rows(X, codes, len(COUNTS))
    for index, count in enumerate(COUNTS):
        if count:
            np.testing.assert_allclose(found.means[index], X[codes == index].mean(axis=0))
        if count > 1:
            np.testing.assert_allclose(found.covariance(index), np.cov(X[codes == index].T), atol=1e-12)
        else:
            assert np.isnan(found.covariance(index)).all()


@pytest.mark.parametrize("n_shards", [2, 3, 8, 58])
def test_any_sharding_agrees_with_one_pass(n_shards):
    X, codes = make()
    edges = np.sort(np.random.default_rng(n_shards).integers(0, len(X), n_shards - 1))
    shards = np.split(np.arange(len(X)), edges)
    parts = [ClassStatistics.from_rows(X[rows], codes[rows], len(COUNTS)) for rows in shards]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert_same(merged, ClassStatistics.from_rows(X, codes, len(COUNTS)))
    while len(parts) > 1:
        parts = [a.merge(b) for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) // 2 * 2 :]
    assert_same(parts[0], ClassStatistics.from_rows(X, codes, len(COUNTS)))


def test_factors_never_have_more_than_d_rows():
    X, codes = make()
    found = ClassStatistics.from_rows(X, codes, len(COUNTS))
    assert max(len(factor) for factor in found.merge(found).factors) <= X.shape[1]


def test_compression_keeps_the_scatter():
    factor = np.random.default_rng(0).random((30, 5))
    compressed = compress_factor(factor)
    assert compressed.shape == (5, 5)
    np.testing.assert_allclose(compressed.T @ compressed, factor.T @ factor)


def test_rows_are_grouped_in_their_own_order():
    order, starts = group_rows(np.array([1, 0, 1, 3]), 4)
    np.testing.assert_array_equal(order, [1, 0, 2, 3])
    np.testing.assert_array_equal(starts, [0, 1, 3, 3, 4])
