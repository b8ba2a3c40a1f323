import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.figures.tail import tail_classes, tail_figure, tail_rows
from longtail.evaluation.metrics import Evaluation
from longtail.pages import png

NAMES = ["cat", "lynx", "puma", "ocelot", "serval"]
COUNTS = np.array([400, 50, 8, 9, 8])
GROUPS = ["many", "medium", "few", "few", "few"]


def make(puma):
    """Return an evaluation whose 20 images of class 2, the puma, go where the list says."""
    confusion = 20 * np.eye(5, dtype=int)
    confusion[2] = puma
    return Evaluation.from_dict({"confusion": confusion.tolist(), "groups": GROUPS})


@pytest.fixture
def evaluations():
    return {"before": make([10, 5, 0, 3, 2]), "between": make([0, 0, 0, 0, 20]), "after": make([4, 0, 12, 0, 4])}


def bars(axes, row):
    """Return (width, colour, text) of the parts of a row that are not empty."""
    inside = {round(text.get_position()[0], 6): text.get_text() for text in axes.texts if text.get_position()[1] == row}
    parts = [patch for patch in axes.patches if round(patch.get_y() + patch.get_height() / 2, 6) == row]
    return [
        (part.get_width(), part.get_facecolor()[:3], inside.get(round(part.get_x() + part.get_width() / 2, 6), ""))
        for part in parts
        if part.get_width()
    ]


def test_a_bar_shows_what_goes_right_and_where_the_rest_goes(evaluations):
    figure = tail_figure(evaluations, COUNTS, NAMES)
    before, after = figure.axes
    labels = [label.get_text() for label in before.get_yticklabels()]
    assert labels == ["ocelot (9)", "puma (8)", "serval (8)"]
    # Its neighbours are the cat (14 of both classifiers), the serval (6) and the lynx (5); the ocelot (3) is not.
    old, new = bars(before, 1), bars(after, 1)
    assert [(width, text) for width, _, text in old] == [(50, "cat"), (25, "lynx"), (15, ""), (10, "serval")]
    assert [(width, text) for width, _, text in new] == [(60, "60%"), (20, "cat"), (20, "serval")]
    larger, smaller = old[0][1], old[3][1]
    assert old[1][1] == larger != smaller  # as many training images are not more
    assert new[1][1] == larger and new[2][1] == smaller
    assert len({colour for _, colour, _ in old + new}) == 4


def test_the_panels_are_the_first_and_the_last_classifier(evaluations):
    figure = tail_figure(evaluations, COUNTS, NAMES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["before: 66.7% right", "after: 86.7% right"]
    assert len(tail_figure({"before": evaluations["before"]}, COUNTS, NAMES).axes) == 1


def test_rows_name_confusions_smallest_class_first(evaluations):
    header, *rows = tail_rows(evaluations, COUNTS, NAMES)
    assert header[2:] == ["before: right", "after: right", "before: taken for", "after: taken for"]
    assert [row[0] for row in rows] == ["serval", "puma", "ocelot"]
    puma = ["8", "0%", "60%", "cat (400) 50%, lynx (50) 25%, ocelot (9) 15%", "cat (400) 20%, serval (8) 20%"]
    assert rows[1][1:] == puma
    assert rows[0][1:] == ["8", "100%", "100%", "–", "–"]


def test_without_few_shot_classes_the_smallest_are_shown(draw):
    evaluations, counts, names = draw(30)
    same = dict(evaluations["method 0"].to_dict(), groups=["medium"] * 30)
    shown = tail_classes(Evaluation.from_dict(same), counts, names)
    assert shown.tolist() == np.argsort(-counts, kind="stable")[-10:].tolist()


@pytest.mark.parametrize("size", [2, 250])
def test_many_classes_show_the_smallest(draw, size):
    evaluations, counts, names = draw(size, methods=2)
    names = [r"$\wrong$" + name for name in names]
    figure = tail_figure({rf"$\oops$ {name}": value for name, value in evaluations.items()}, counts, names)
    assert png(figure).startswith(b"\x89PNG")
    few = int((counts < 20).sum())
    assert len(figure.axes[0].get_yticks()) == min(few, 35)
    assert (f"the 35 smallest of {few}" in figure.axes[0].get_ylabel()) == (few > 35)


def test_names_must_be_one_per_class(evaluations):
    with pytest.raises(InputError, match="class_names 4 names"):
        tail_figure(evaluations, COUNTS, NAMES[:4])
