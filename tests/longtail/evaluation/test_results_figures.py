import itertools

import pytest

from longtail.errors import InputError
from longtail.evaluation.results_figures import accuracy_figure, gain_figure
from longtail.evaluation.results_table import Statistic, Summary
from longtail.pages import png


def summary(method, top1, few, gain=None, base="CosineCE", factor=100.0):
    scores = {"top1": top1, "many": Statistic(60.0, None), "medium": Statistic(40.0, None), "few": few}
    return Summary(factor, 38, base, method, 3, scores, gain, gain, Statistic(20.0, 1.0))


TRAINED = summary("as trained", Statistic(40.0, 0.5), Statistic(8.0, 0.2))
RETRAINED = summary("TailCalibX", Statistic(45.0, 0.3), Statistic(24.0, 2.0), Statistic(5.0, 0.4))
WORSE = summary("cRT", Statistic(39.0, None), None, Statistic(-1.0, None), base="CE $x$")


def bars(figure):
    """Return colour to widths of the bars."""
    found = {}
    for patch in figure.axes[0].patches:
        found.setdefault(patch.get_facecolor(), []).append(patch.get_width())
    return list(found.values())


def spreads(figure):
    """Return half the width of every error bar."""
    segments = [part for line in figure.axes[0].collections for part in line.get_segments() if len(part)]
    return sorted(round((part[1][0] - part[0][0]) / 2, 6) for part in segments)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_accuracy_over_all_and_few_with_spread():
    figure = accuracy_figure([TRAINED, RETRAINED, WORSE])
    assert bars(figure) == [[40.0, 45.0, 39.0], [8.0, 24.0]]
    assert spreads(figure) == [0.2, 0.3, 0.5, 2.0]  # none for the single run
    assert {"CosineCE, 38 epochs", r"CE \$x\$, 38 epochs", "45.0", "24.0"} <= set(texts(figure))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["as trained", "TailCalibX", "cRT"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all classes", "few-shot classes"]


def test_rows_do_not_overlap_and_run_downwards():
    axes = accuracy_figure([TRAINED, RETRAINED, WORSE]).axes[0]
    low, high = axes.get_ylim()
    assert low > high
    spans = sorted((patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches)
    assert all(after[0] >= before[1] - 1e-9 for before, after in itertools.pairwise(spans))


def test_without_few_shot_classes_bars_stand_at_their_names():
    axes = accuracy_figure([summary("as trained", Statistic(56.0, None), None, factor=10.0)]).axes[0]
    (bar,) = axes.patches
    assert bar.get_y() + bar.get_height() / 2 == pytest.approx(axes.get_yticks()[0])


def test_gain_leaves_out_the_network_as_trained():
    figure = gain_figure([TRAINED, RETRAINED, WORSE])
    assert bars(figure) == [[5.0, -1.0], [5.0, -1.0]]
    assert {"+5.0", "-1.0"} <= set(texts(figure))


def test_gain_of_nothing_says_so():
    assert "no method but the networks as trained" in texts(gain_figure([TRAINED]))


def test_a_figure_is_the_same_bytes_each_time():
    assert png(accuracy_figure([TRAINED, RETRAINED])) == png(accuracy_figure([TRAINED, RETRAINED]))


@pytest.mark.parametrize("draw", [accuracy_figure, gain_figure])
def test_one_figure_is_of_one_imbalance_factor(draw):
    with pytest.raises(InputError, match="2 imbalance factors: draw those of one"):
        draw([TRAINED, summary("cRT", None, None, factor=10.0)])
    with pytest.raises(InputError, match="0 imbalance factors"):
        draw([])
