import numpy as np
import pytest
import torch

from longtail.calibration import TailCalib, inputs
from longtail.errors import InputError

GOOD = TailCalib(random_state=0).get_params()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_neighbors", 0),
        ("n_neighbors", 2.0),
        ("n_neighbors", True),
        ("tukey", -0.5),
        ("alpha", -1),
        ("alpha", float("nan")),
        ("eps", -1e-9),
        ("eps", "small"),
        ("alpha_on", "everything"),
        ("random_state", -1),
        ("random_state", 1.5),
        ("own_class", True),
        ("fill", -0.1),
        ("fill", float("inf")),
        ("statistics", "both"),
        ("clip", "yes"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(name, value):
    inputs.check_settings(GOOD)
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        inputs.check_settings({**GOOD, name: value})


def test_logarithms_are_not_clipped():
    with pytest.raises(InputError, match="clip is True and tukey is 0: logarithms of features below 1 are negative"):
        inputs.check_settings({**GOOD, "clip": True, "tukey": 0})


def test_neighbours_are_counted():
    inputs.check_neighbors(3, 3, "include")
    inputs.check_neighbors(2, 3, "exclude")
    with pytest.raises(InputError, match="n_neighbors is 4 and y has 3 classes: give at most 3"):
        inputs.check_neighbors(4, 3, "include")
    with pytest.raises(InputError, match="3 classes, one of them the excluded own one: give at most 2"):
        inputs.check_neighbors(3, 3, "exclude")


def test_labels_are_found_among_the_known_ones():
    classes = np.array(["a", "c", "d"])
    np.testing.assert_array_equal(inputs.known_codes(np.array(["d", "a"]), classes), [2, 0])
    for unknown in ("b", "e"):
        with pytest.raises(InputError, match=f"fit saw no class {unknown}"):
            inputs.known_codes(np.array(["a", unknown]), classes)


@pytest.mark.parametrize("shape", [(5,), (0, 3), (5, 0), (2, 2, 2)])
def test_features_must_be_a_table(shape):
    with pytest.raises(InputError, match="X has shape"):
        inputs.as_features(np.zeros(shape))


def test_features_must_be_floats():
    with pytest.raises(InputError, match="X has dtype int64: convert it to float32 or float64"):
        inputs.as_features(np.zeros((2, 2), np.int64))


def test_features_are_not_copied():
    X = np.zeros((2, 2), np.float32)
    assert np.shares_memory(inputs.as_features(X), X)
    assert np.shares_memory(inputs.as_features(torch.from_numpy(X)), X)


@pytest.mark.parametrize(
    "y", [np.array([0.0, 1.0, np.nan]), np.array(["a", "b", None], object), np.array(["a", "b", np.nan], object)]
)
def test_a_row_without_a_label_is_named(y):
    with pytest.raises(InputError, match=r"1 rows have no label \(first: row 2\)"):
        inputs.as_labels(y, 3)


def test_labels_must_match_the_rows_and_be_discrete():
    with pytest.raises(InputError, match=r"y has shape \(2,\) and X 3 rows"):
        inputs.as_labels(np.zeros(2, np.int64), 3)
    with pytest.raises(InputError, match="y has dtype float64"):
        inputs.as_labels(np.zeros(3), 3)
    with pytest.raises(InputError, match="mixes labels"):
        inputs.encode_labels(inputs.as_labels(np.array([1, "a"], object), 2))


def test_bad_features_are_counted():
    X = np.zeros((10000, 3))
    X[7, 1], X[9000, 2] = np.nan, np.inf
    with pytest.raises(InputError, match=r"2 features are NaN or infinite \(first in row 7\)"):
        inputs.check_finite(X)
    inputs.check_finite(np.zeros((3, 3)))


def test_results_follow_the_kind_of_the_input():
    array = np.zeros(3)
    assert inputs.like_input(array, [1]) is array
    assert torch.is_tensor(inputs.like_input(array, torch.zeros(1)))
