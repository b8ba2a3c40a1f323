import numpy as np
import pytest

from longtail.data.profiles import class_counts
from longtail.errors import InputError

CIFAR100 = np.full(100, 500)


@pytest.mark.parametrize(
    ("factor", "total", "smallest", "many", "few"),
    [(100, 10_847, 5, 35, 30), (50, 12_608, 10, 41, 18), (10, 19_573, 50, 69, 0)],
)
def test_exponential_gives_the_published_cifar100_counts(factor, total, smallest, many, few):
    counts = class_counts("exponential", CIFAR100, factor, 0)
    assert counts.sum() == total
    assert (counts[0], counts[-1]) == (500, smallest)
    assert ((counts > 100).sum(), (counts < 20).sum()) == (many, few)
    assert counts.dtype == np.int64


@pytest.mark.parametrize("factor", [2, 4, 5, 10, 20, 25, 50, 100, 125, 250, 500])
@pytest.mark.parametrize("classes", [2, 3, 7, 10, 100, 1000])
def test_the_last_class_is_exact(factor, classes):
    counts = class_counts("exponential", np.full(classes, 500), factor, 500)
    assert counts[-1] == 500 // factor
    assert (np.diff(counts) <= 0).all()


@pytest.mark.parametrize("profile", ["exponential", "step"])
def test_a_rounding_error_does_not_cost_an_image(profile):
    assert 98 * (1 / 49) < 2
    assert class_counts(profile, np.array([98, 98]), 49, 0).tolist() == [98, 2]


def test_every_class_keeps_at_least_one_image():
    assert class_counts("exponential", np.full(4, 10), 1000, 0).tolist() == [10, 1, 1, 1]
    assert class_counts("step", np.full(4, 10), 1000, 0).tolist() == [10, 10, 1, 1]


def test_a_single_class_keeps_the_largest_count():
    assert class_counts("exponential", np.array([9]), 100, 0).tolist() == [9]
    assert class_counts("step", np.array([9]), 100, 0).tolist() == [9]


def test_step_and_natural():
    assert class_counts("step", np.full(5, 60), 6, 30).tolist() == [30, 30, 5, 5, 5]
    assert class_counts("natural", np.array([3, 9, 1]), 100, 7).tolist() == [3, 9, 1]


def test_zero_takes_what_the_smallest_class_can_give():
    assert class_counts("exponential", np.array([90, 40, 70]), 4, 0).tolist() == [40, 20, 10]


def test_names_every_class_that_is_too_small():
    with pytest.raises(InputError, match=r"'b' has 3 of 20, 'c' has 9 of 10; lower") as caught:
        class_counts("exponential", np.array([40, 3, 9]), 4, 40, class_names=("a", "b", "c"))
    assert "'a'" not in str(caught.value)
    with pytest.raises(InputError, match="class 1 has 3 of 20"):
        class_counts("exponential", np.array([40, 3, 9]), 4, 40)


def test_unknown_profile():
    with pytest.raises(InputError, match="'linear': choose from exponential"):
        class_counts("linear", CIFAR100, 10, 0)
