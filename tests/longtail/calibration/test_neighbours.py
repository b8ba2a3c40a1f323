import numpy as np
import pytest

from longtail.calibration import neighbours
from longtail.calibration.neighbours import ClassIndex


def dense(X, means, k):
    distances = np.square(X.astype(np.float64)[:, None] - means[None]).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_agrees_with_all_distances_in_float64(dtype, k):
    rng = np.random.default_rng(0)
    means = rng.random((20, 16))
    X = rng.random((200, 16)).astype(dtype)
    np.testing.assert_array_equal(ClassIndex(means, np.dtype(dtype)).nearest(X, k), dense(X, means, k))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 19])
def test_an_excluded_class_is_never_found(dtype, k):
    rng = np.random.default_rng(0)
    means, X, excluded = rng.random((20, 16)), rng.random((200, 16)).astype(dtype), rng.integers(20, size=200)
    expected = [[c for c in row if c != own][:k] for row, own in zip(dense(X, means, 20), excluded, strict=True)]
    np.testing.assert_array_equal(ClassIndex(means, np.dtype(dtype)).nearest(X, k, excluded), expected)
    close = 1e3 + 1e-5 * means  # too close for a float32 product: all rows are searched again
    rows = (close[excluded] + 1e-6).astype(dtype)
    assert (ClassIndex(close, np.dtype(dtype)).nearest(rows, k, excluded) != excluded[:, None]).all()


def test_the_set_is_exact_where_float32_products_cannot_tell():
    rng = np.random.default_rng(1)
    # Far from the origin, classes apart by less than a float32 rounding of the squared distance.
    means = 1e3 + rng.random((6, 8)) + 1e-5 * rng.random((6, 8))
    means[3:] = means[:3] + 1e-4 * rng.random((3, 8))
    X = (means[rng.integers(6, size=300)] + 0.1 * rng.random((300, 8))).astype(np.float32)
    found = np.sort(ClassIndex(means, np.dtype(np.float32)).nearest(X, 3), axis=1)
    np.testing.assert_array_equal(found, np.sort(dense(X, means, 3), axis=1))


def test_the_table_of_distances_is_bounded():
    wide = ClassIndex(np.zeros((8000, 4)), np.dtype(np.float32))
    assert wide.chunk_rows * 8000 * 4 <= neighbours._TABLE_BYTES
