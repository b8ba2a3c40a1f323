import sys

import pytest

from longtail.errors import InputError
from longtail.evaluation.figures import groups_figure
from longtail.evaluation.metrics import evaluate
from longtail.pages import png


def test_every_bar_is_labelled_with_its_value(draw, texts):
    evaluations, _, _ = draw(10)
    axes = groups_figure(evaluations).axes[0]
    first = evaluations["method 0"]
    assert [container.get_label() for container in axes.containers] == list(evaluations)
    assert [bar.get_height() for bar in axes.containers[0]] == [first.top1, first.many, first.medium, first.few]
    assert f"{first.few:.1f}" in texts(axes)
    assert len(texts(axes)) == 12


def test_an_empty_group_says_so():
    axes = groups_figure({"CE": evaluate([0, 1], [0, 1], [30, 30])}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "few\nno classes"
    assert len(axes.containers[0]) == 2


@pytest.mark.parametrize("methods", [1, 9])
def test_many_classifiers_and_dollar_signs_render(draw, methods):
    evaluations = {rf"loss $\oops$ {name}": value for name, value in draw(4, methods=methods)[0].items()}
    assert png(groups_figure(evaluations)).startswith(b"\x89PNG")


def test_pyplot_is_not_touched(draw):
    already = "matplotlib.pyplot" in sys.modules
    groups_figure(draw(4)[0])
    assert ("matplotlib.pyplot" in sys.modules) == already


def test_nothing_to_compare_is_refused():
    with pytest.raises(InputError, match="0 classifiers"):
        groups_figure({})
