import numpy as np
import pytest

from longtail.calibration.tukey import tukey_power, tukey_transform
from longtail.errors import InputError


def test_power_one_returns_the_same_array():
    X = np.array([[-1.0, 2.0]])
    assert tukey_transform(X, 1.0) is X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("power", [0.5, 0.9, 2.0])
def test_powers_are_elementwise_and_keep_the_dtype(power, dtype):
    X = np.array([[0.0, 0.25], [4.0, 9.0]], dtype)
    result = tukey_transform(X, power)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, X.astype(np.float64) ** power, rtol=1e-6)


def test_the_unchecked_power_is_the_same_where_it_is_defined():
    X = np.array([[0.0, 0.25], [4.0, 9.0]])
    for power in (0.0, 0.5, 1.0, 2.0):
        np.testing.assert_array_equal(tukey_power(X, power), tukey_transform(X, power))
    with np.errstate(invalid="ignore"):
        assert np.isnan(tukey_power(-X, 0.5)[1]).all()


def test_power_zero_is_the_logarithm_with_the_published_offset():
    np.testing.assert_allclose(tukey_transform(np.array([0.0, 1.0]), 0.0), np.log([1e-6, 1 + 1e-6]))


def test_whole_powers_take_negative_features():
    np.testing.assert_array_equal(tukey_transform(np.array([-2.0]), 2.0), [4.0])


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_negative_features_are_named(power):
    X = np.ones((5, 3))
    X[3, 1] = X[4, 0] = -1
    with pytest.raises(InputError, match=r"2 features are negative \(first in row 3\)"):
        tukey_transform(X, power)
