import pytest

from longtail.head_curvature.blocks import Block
from longtail.head_curvature.figures import heads_figure
from longtail.head_curvature.report import HeadCurvature
from longtail.pages import png


def heads(number, groups=("many", "medium", "few"), residual=0.0):
    """Return numbers of several methods; the trace of a block counts method and block."""
    return {
        f"method-{i}": HeadCurvature(
            "linear",
            1.0,
            0.5,
            4.0,
            {
                group: Block(1 + j, 10, 10.0 * i + j, 10.0 * i + j + residual, None, i + 0.1 * j)
                for j, group in enumerate(["all", *groups])
            },
            None,
            None,
        )
        for i in range(number)
    }


@pytest.mark.parametrize("number", [1, 4])
def test_a_bar_for_each_block_and_method_of_trace_and_top_eigenvalue(number):
    figure = heads_figure(heads(number))
    above, below = figure.axes
    assert (above.get_ylabel(), below.get_ylabel()) == ("trace", "top eigenvalue")
    for i, (traces, tops) in enumerate(zip(above.containers, below.containers, strict=True)):
        assert [bar.get_height() for bar in traces] == [10.0 * i + j for j in range(4)]
        assert [bar.get_height() for bar in tops] == pytest.approx([i + 0.1 * j for j in range(4)])
    ticks = [text.get_text() for text in below.get_xticklabels()]
    assert ticks == ["whole layer", "many\n2 classes", "medium\n3 classes", "few\n4 classes"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"method-{i}" for i in range(number)]


def test_bars_of_many_methods_carry_no_numbers():
    assert not any(axes.texts for axes in heads_figure(heads(8)).axes)
    assert any(axes.texts for axes in heads_figure(heads(3)).axes)


def test_a_group_without_classes_has_no_place():
    assert len(heads_figure(heads(2, ("few",))).axes[1].get_xticklabels()) == 2


def test_the_gauss_newton_trace_stands_between_if_it_is_another():
    figure = heads_figure(heads(2, residual=2.0))
    assert [axes.get_ylabel() for axes in figure.axes] == ["trace", "Gauss-Newton trace", "top eigenvalue"]
    assert [bar.get_height() for bar in figure.axes[1].containers[1]] == [12.0, 13.0, 14.0, 15.0]


def test_it_renders():
    assert png(heads_figure(heads(4))).startswith(b"\x89PNG")
