import io
import sys

import pytest

from longtail.data.figures import counts_figure


def test_bars_run_from_the_largest_class():
    (axes,) = counts_figure([5, 50, 20], ["a", "b", "c"]).axes
    assert [bar.get_height() for bar in axes.patches] == [50, 20, 5]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c", "a"]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "training images")


@pytest.mark.parametrize(("classes", "named"), [(10, True), (150, False)])
def test_figure_renders_without_pyplot(classes, named):
    imported = "matplotlib.pyplot" in sys.modules
    figure, file = counts_figure(range(classes, 0, -1), [f"class {i}" for i in range(classes)]), io.BytesIO()
    figure.savefig(file, dpi=50)
    (axes,) = figure.axes
    assert file.getbuffer().nbytes > 2000
    assert len(axes.patches) == classes
    assert any(label.get_text() == "class 0" for label in axes.get_xticklabels()) == named
    assert bool(axes.get_xlabel()) != named
    assert ("matplotlib.pyplot" in sys.modules) == imported


def test_equal_classes_draw():
    counts_figure([3, 3], ["a", "b"]).savefig(io.BytesIO(), dpi=50)
