import numpy as np
import pytest
from matplotlib.figure import Figure

from longtail.errors import InputError
from longtail.evaluation.figures.axis import class_axis, spread
from longtail.evaluation.metrics import evaluate


def make(size, counts=None):
    counts = np.arange(1, size + 1) if counts is None else np.array(counts)
    labels = np.arange(size)
    return evaluate((labels + 1) % size, labels, counts, many_above=size * 2 // 3, few_below=size // 3 + 1), counts


def test_few_classes_have_a_bin_each():
    evaluation, counts = make(6, [1, 6, 2, 5, 3, 4])
    axis = class_axis(evaluation, counts, list("abcdef"))
    assert axis.order.tolist() == [1, 3, 5, 4, 2, 0]
    assert axis.groups == (("many", 0, 2), ("medium", 2, 4), ("few", 4, 6))
    assert not axis.binned
    values = np.array([10.0, 60, 20, 50, 30, 40])
    np.testing.assert_array_equal(axis.mean(values), [60, 50, 40, 30, 20, 10])
    assert axis.group_mean(values, 2, 4) == 35
    np.testing.assert_array_equal(axis.sums(np.diag(values)), np.diag([60, 50, 40, 30, 20, 10]))


def test_bins_hold_every_class_once_and_do_not_cross_groups():
    evaluation, counts = make(1000)
    axis = class_axis(evaluation, counts, [""] * 1000)
    assert axis.binned and len(axis) == 150
    assert axis.sizes.sum() == 1000 and axis.sizes.min() >= 6 and axis.sizes.max() <= 7
    groups = np.array(evaluation.groups)[axis.order]
    for start, size in zip(axis.starts, axis.sizes, strict=True):
        assert len(set(groups[start : start + size])) == 1
    for group, first, stop in axis.groups:
        assert axis.sizes[first:stop].sum() == (groups == group).sum()


def test_bins_average_and_sum_what_they_hold():
    evaluation, counts = make(900)
    axis, rng = class_axis(evaluation, counts, [""] * 900), np.random.default_rng(0)
    values, matrix = rng.normal(size=900), rng.integers(5, size=(900, 900))
    np.testing.assert_allclose(axis.mean(values), values[::-1].reshape(150, 6).mean(axis=1))
    expected = matrix[::-1, ::-1].reshape(150, 6, 150, 6).sum(axis=(1, 3))
    np.testing.assert_array_equal(axis.sums(matrix), expected)
    assert axis.group_mean(values, 50, 100) == pytest.approx(values[300:600].mean())


def test_classes_without_test_images_can_be_left_out():
    evaluation = evaluate([0, 2], [0, 2], [5, 9, 7])
    assert class_axis(evaluation, [5, 9, 7], "abc").order.tolist() == [1, 2, 0]
    assert class_axis(evaluation, [5, 9, 7], "abc", tested=True).order.tolist() == [2, 0]


def test_group_texts_stand_above_their_classes():
    evaluation, counts = make(6)
    axes = Figure(figsize=(12, 4)).subplots()
    class_axis(evaluation, counts, list("abcdef")).mark_groups(axes, ["x", "y", "z"])
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("x", 0.5), ("y", 2.5), ("z", 4.5)]
    assert [line.get_xdata()[0] for line in axes.lines] == [1.5, 3.5]


def test_counts_and_names_must_be_one_per_class():
    evaluation, counts = make(6)
    with pytest.raises(InputError, match=r"shape \(5,\) and class_names 6 names: the evaluation has 6 classes"):
        class_axis(evaluation, counts[1:], list("abcdef"))


def test_texts_of_narrow_groups_do_not_overlap():
    assert spread([10, 50, 90], [8, 8, 8], 100).tolist() == [10, 50, 90]
    moved = spread([45, 96, 99], [8, 12, 6], 99)
    assert moved[0] == 45
    assert moved[2] - moved[1] == pytest.approx(9, abs=0.1) and moved[2] + 3 <= 99
    moved = spread([0, 1, 50], [8, 12, 6], 99)
    assert moved[0] >= 4 and moved[1] - moved[0] == pytest.approx(10, abs=0.1)
