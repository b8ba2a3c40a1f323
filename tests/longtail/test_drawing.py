import sys

import pytest
from matplotlib.lines import Line2D

from longtail.drawing import OKABE_ITO, clip_name, colours, legend_above, literal, new_figure, quiet


@pytest.mark.parametrize("number", [1, 7, 12])
def test_every_method_has_a_colour_of_its_own_and_the_first_is_grey(number):
    found = colours(number)
    assert found[0] == OKABE_ITO[0]
    assert len({str(colour) for colour in found}) == number


def test_dollar_signs_are_not_mathematics():
    assert literal(r"loss $\oops$") == r"loss \$\oops\$"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("otter", "otter"),
        ("x" * 24, "x" * 24),
        ("$5 note", r"\$5 note"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmn…rstuvwxyz"),
    ],
)
def test_long_names_lose_their_middle(name, shown):
    assert clip_name(name) == shown


def test_names_that_differ_at_the_end_stay_apart():
    assert clip_name("Panthera tigris altaica, kind 1") != clip_name("Panthera tigris altaica, kind 2")


def test_small_text_is_sharp_and_pyplot_is_not_touched():
    already = "matplotlib.pyplot" in sys.modules
    assert new_figure(2, 1).dpi >= 150
    assert ("matplotlib.pyplot" in sys.modules) == already


def test_quiet_axes_have_no_frame():
    axes = new_figure(2, 1).subplots()
    quiet(axes)
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]


def test_a_legend_that_does_not_fit_in_a_line_gets_fewer_columns():
    for length, columns in ((3, 4), (20, 2)):
        figure = new_figure(6, 3)
        labels = [letter * length for letter in "abcd"]
        legend_above(figure, [Line2D([], []) for _ in labels], labels)
        assert figure.legends[0]._ncols == columns
        assert [text.get_text() for text in figure.legends[0].texts] == labels
