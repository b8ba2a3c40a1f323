import numpy as np
import pytest

from longtail.hessian.subset import balanced_rows

LABELS = np.repeat([2, 0, 1], [30, 4, 9])


@pytest.mark.parametrize(("per_class", "counts"), [(1, [1, 1, 1]), (4, [4, 4, 4]), (10, [4, 9, 10])])
def test_at_most_so_many_of_a_class(per_class, counts):
    rows = balanced_rows(LABELS, per_class)
    np.testing.assert_array_equal(np.bincount(LABELS[rows]), counts)
    np.testing.assert_array_equal(rows, np.unique(rows))


def test_the_same_rows_every_time_and_more_of_them_hold_the_fewer():
    np.testing.assert_array_equal(balanced_rows(LABELS, 5), balanced_rows(LABELS.tolist(), 5))
    assert set(balanced_rows(LABELS, 3)) < set(balanced_rows(LABELS, 5))


def test_a_class_without_rows_is_left_out():
    assert set(LABELS[LABELS != 0][balanced_rows(LABELS[LABELS != 0], 2)]) == {1, 2}
