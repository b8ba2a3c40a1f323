"""Accuracy over all, many, medium and few classes, one bar for each classifier."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from longtail.drawing import INK, colours, legend_above, literal, new_figure, quiet
from longtail.evaluation.metrics import GROUPS, Evaluation
from longtail.evaluation.table import check_comparable, class_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def groups_figure(evaluations: Mapping[str, Evaluation]) -> "Figure":
    """Draw the accuracy over all, many, medium and few classes as one bar for each classifier.

    Args:
        evaluations: Evaluations on one data set by display name.

    Returns:
        A figure with value labels; an empty group says so.

    Raises:
        InputError: If there is no evaluation, or two of them are of different classes or test images.
    """
    baseline = check_comparable(evaluations)
    figure = new_figure(max(7.0, 1.0 + 1.9 * len(evaluations)), 4.2)
    axes = figure.subplots()
    width = 0.84 / len(evaluations)
    for index, (name, evaluation) in enumerate(evaluations.items()):
        values = [evaluation.top1, evaluation.many, evaluation.medium, evaluation.few]
        shown = [(place, value) for place, value in enumerate(values) if value is not None]
        offset = (index - (len(evaluations) - 1) / 2) * width
        bars = axes.bar(
            [place + offset for place, _ in shown],
            [value for _, value in shown],
            width * 0.94,
            color=colours(len(evaluations))[index],
            label=literal(name),
        )
        axes.bar_label(bars, fmt="{:.1f}", padding=2, fontsize=9, color=INK)
    ticks = ["all", *(f"{group}\n{class_count(baseline, group)}" for group in GROUPS)]
    axes.set_xticks(range(4), ticks, fontsize=11)
    axes.set_xlim(-0.6, 3.6)
    axes.set_ylim(0, 105)
    axes.set_ylabel("accuracy (%)")
    quiet(axes)
    legend_above(figure, *axes.get_legend_handles_labels())
    return figure
