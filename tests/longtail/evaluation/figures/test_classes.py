import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.figures import per_class_figure
from longtail.pages import png


def test_classes_are_sorted_by_count_and_gains_are_over_the_first(draw, texts):
    evaluations, counts, names = draw(10)
    top, second, third, behind = per_class_figure(evaluations, counts, names).axes
    order = np.argsort(-counts)
    np.testing.assert_array_equal(top.lines[1].get_ydata(), evaluations["method 1"].per_class[order])
    np.testing.assert_array_equal([bar.get_height() for bar in behind.patches], counts[order])
    for name, axes in (("method 1", second), ("method 2", third)):
        gains = evaluations[name].per_class - evaluations["method 0"].per_class
        np.testing.assert_array_equal([bar.get_height() for bar in axes.patches], gains[order])
        assert texts(axes)[2] == f"few {evaluations[name].few - evaluations['method 0'].few:+.1f}"
        assert axes.get_ylim() == second.get_ylim()
    assert [label.get_text() for label in third.get_xticklabels()] == [names[label] for label in order]
    assert texts(top) == ["many", "medium", "few"]


def test_an_untested_class_is_left_out(draw):
    evaluations, counts, names = draw(10, skip=4)
    figure = per_class_figure(evaluations, counts, names)
    shown = [label.get_text() for label in figure.axes[-2].get_xticklabels()]
    assert sorted(shown) == sorted(set(names) - {"class 4"})


def test_thousands_of_classes_are_binned_and_group_gains_stay_exact(draw, texts):
    evaluations, counts, names = draw(4000, methods=2)
    top, gains, behind = per_class_figure(evaluations, counts, names).axes
    assert len(gains.patches) == len(behind.patches) == 150
    assert "dot: mean of 27 classes" in top.get_ylabel()
    first, last = evaluations.values()
    assert texts(gains)[2] == f"few {last.few - first.few:+.1f}"
    assert not len(gains.get_xticks())


@pytest.mark.parametrize("size", [1, 100, 130])
def test_any_number_of_classes_renders(draw, size):
    evaluations, counts, names = draw(size, methods=2)
    names[0] = r"$\wrong$" + names[0]
    figure = per_class_figure({rf"loss $\oops$ {name}": value for name, value in evaluations.items()}, counts, names)
    assert png(figure).startswith(b"\x89PNG")
    assert len(figure.axes[1].get_xticks()) == (size if size <= 120 else 0)


def test_counts_must_be_one_per_class(draw):
    evaluations, counts, names = draw(5)
    with pytest.raises(InputError, match=r"shape \(4,\) and class_names 5 names: the evaluation has 5 classes"):
        per_class_figure(evaluations, counts[:4], names)
