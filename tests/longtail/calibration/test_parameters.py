import pytest

from longtail.calibration.parameters import Parameters
from longtail.errors import InputError


class Estimator(Parameters):
    def __init__(self, first=1, *, second="two"):
        self.first = first
        self.second = second


def test_parameters_are_those_of_the_constructor():
    estimator = Estimator(first=3)
    estimator.fitted_ = 1
    assert estimator.get_params() == {"first": 3, "second": "two"}
    assert estimator.set_params(second="other") is estimator
    assert repr(estimator) == "Estimator(first=3, second='other')"


def test_an_unknown_parameter_is_refused_and_changes_nothing():
    estimator = Estimator()
    with pytest.raises(InputError, match="'third' is not a parameter of Estimator: choose from first, second"):
        estimator.set_params(third=3)
    assert not hasattr(estimator, "third")
