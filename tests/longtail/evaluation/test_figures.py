import sys

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.figures import confusion_figure, groups_figure, per_class_figure
from longtail.evaluation.metrics import evaluate
from longtail.pages import png


def draw(size, methods=3, skip=None):
    """Evaluations of a shuffled class order, so that a figure that forgets to sort is caught."""
    generator = np.random.default_rng(0)
    counts = generator.permutation(np.geomspace(500, 5, size).astype(np.int64))
    labels = np.repeat(np.arange(size), 10)
    labels = labels[labels != skip]
    evaluations = {}
    for method in range(methods):
        right = generator.random(labels.size) < 0.3 + 0.2 * method
        predictions = np.where(right, labels, generator.integers(size, size=labels.size))
        evaluations[f"method {method}"] = evaluate(predictions, labels, counts)
    return evaluations, counts, [f"class {label}" for label in range(size)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_groups_figure_labels_every_bar_with_its_value():
    evaluations, _, _ = draw(10)
    axes = groups_figure(evaluations).axes[0]
    first = evaluations["method 0"]
    assert [container.get_label() for container in axes.containers] == list(evaluations)
    assert [bar.get_height() for bar in axes.containers[0]] == [first.top1, first.many, first.medium, first.few]
    assert f"{first.few:.1f}" in texts(axes)
    assert len(texts(axes)) == 12


def test_groups_figure_says_that_a_group_is_empty():
    axes = groups_figure({"CE": evaluate([0, 1], [0, 1], [30, 30])}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "few\nno classes"
    assert len(axes.containers[0]) == 2


def test_per_class_figure_sorts_by_count_and_draws_gains():
    evaluations, counts, names = draw(10)
    figure = per_class_figure(evaluations, counts, names)
    top, second, third, behind = figure.axes
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


def test_per_class_figure_leaves_out_an_untested_class():
    evaluations, counts, names = draw(10, skip=4)
    figure = per_class_figure(evaluations, counts, names)
    shown = [label.get_text() for label in figure.axes[-2].get_xticklabels()]
    assert sorted(shown) == sorted(set(names) - {"class 4"})


def test_confusion_figure_normalises_and_sorts_rows():
    evaluations, counts, names = draw(10, skip=4)
    evaluation = evaluations["method 2"]
    axes = confusion_figure(evaluation, names, counts).axes[0]
    shares = axes.images[0].get_array()
    order = np.argsort(-counts)
    np.testing.assert_allclose(shares.diagonal().compressed(), evaluation.per_class[order][order != 4])
    np.testing.assert_allclose(shares.sum(axis=1).compressed(), 100.0)
    assert shares.mask[list(order).index(4)].all()
    assert f"{evaluation.per_class[order[0]]:.0f}" in texts(axes)


@pytest.mark.parametrize("size", [1, 100, 130])
def test_many_classes_render_without_numbers_in_cells(size):
    evaluations, counts, names = draw(size, methods=9 if size == 100 else 2)
    assert png(groups_figure(evaluations)).startswith(b"\x89PNG")
    curve = per_class_figure(dict(list(evaluations.items())[:2]), counts, names)
    assert png(curve).startswith(b"\x89PNG")
    figure = confusion_figure(evaluations["method 0"], names, counts)
    assert png(figure).startswith(b"\x89PNG")
    if size > 1:
        assert set(texts(figure.axes[0])) == {"many", "medium", "few"}
        assert (len(figure.axes[0].get_yticks()) == size) == (size <= 120)


def test_dollar_signs_are_not_mathematics():
    evaluations, counts, names = draw(4, methods=1)
    evaluations = {r"loss $\oops$": evaluations["method 0"]}
    names = [r"$\wrong$" + name for name in names]
    for figure in (
        groups_figure(evaluations),
        per_class_figure(evaluations, counts, names),
        confusion_figure(evaluations[r"loss $\oops$"], names, counts),
    ):
        assert png(figure)


def test_pyplot_is_not_touched():
    already = "matplotlib.pyplot" in sys.modules
    evaluations, _, _ = draw(4)
    groups_figure(evaluations)
    assert ("matplotlib.pyplot" in sys.modules) == already


def test_counts_and_names_must_be_one_per_class():
    evaluations, counts, names = draw(5)
    with pytest.raises(InputError, match=r"shape \(4,\) and class_names 5 names: the evaluation has 5 classes"):
        per_class_figure(evaluations, counts[:4], names)
    with pytest.raises(InputError, match="class_names 4 names"):
        confusion_figure(evaluations["method 0"], names[:4], counts)
    with pytest.raises(InputError, match="0 classifiers"):
        groups_figure({})
