"""Accuracy of every class over its training count, and each classifier's gain over the first."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.drawing import INK, MUTED_INK, colours, legend_above, literal, new_figure, quiet
from longtail.evaluation.figures.axis import NUMBERS_UP_TO, ClassAxis, class_axis
from longtail.evaluation.metrics import Evaluation
from longtail.evaluation.table import check_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def per_class_figure(
    evaluations: Mapping[str, Evaluation], train_counts: ArrayLike, class_names: Sequence[str]
) -> "Figure":
    """Draw the accuracy of every class over its training count, and each classifier's gain over the first.

    Args:
        evaluations: Evaluations on one data set by display name; gains are over the first.
        train_counts: (C,) int, training images of each class.
        class_names: C names.

    Returns:
        A figure of one panel with the accuracies (with many classes: a dot a class and a running mean; with more
        than 300: a dot for the mean of several) before the training counts in grey, and one panel of gains, in
        points, for each further classifier.

    Raises:
        InputError: If there is no evaluation, two of them are of different classes or test images, or counts
            or names are not one per class.
    """
    baseline = check_comparable(evaluations)
    axis = class_axis(baseline, train_counts, class_names, tested=True)
    gains = {name: value.per_class - baseline.per_class for name, value in list(evaluations.items())[1:]}
    figure = new_figure(min(14.0, 7.0 + 0.08 * len(axis)), 4.0 + 1.25 * len(gains))
    panels = figure.subplots(1 + len(gains), sharex=True, squeeze=False, height_ratios=[3.2] + [1.0] * len(gains))[:, 0]
    shades = colours(len(evaluations))
    _draw_counts(panels[0], axis.mean(np.asarray(train_counts)))
    for (name, evaluation), colour in zip(evaluations.items(), shades, strict=True):
        _draw_accuracy(panels[0], axis, evaluation.per_class, name, colour)
    axis.mark_groups(panels[0])
    for axes, (name, values), colour in zip(panels[1:], gains.items(), shades[1:], strict=True):
        axes.bar(np.arange(len(axis)), axis.mean(values), 0.8, color=colour)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_title(literal(name), loc="left", fontsize=10, pad=2)
        axes.set_ylabel("gain\n(points)")
        quiet(axes)
        means = [f"{group} {axis.group_mean(values, first, stop):+.1f}" for group, first, stop in axis.groups]
        axis.mark_groups(axes, means, inside=True)
    _share_scale(list(panels[1:]), [axis.mean(values) for values in gains.values()])
    axis.name_columns(panels[-1])
    legend_above(figure, *panels[0].get_legend_handles_labels())
    return figure


def _draw_counts(axes: "Axes", counts: NDArray[np.float64]) -> None:
    """Put the training counts, on a log scale of their own, behind the accuracies."""
    from matplotlib.ticker import LogFormatter

    behind = axes.twinx()
    behind.set_yscale("log")
    behind.bar(np.arange(len(counts)), np.maximum(counts, 0.5), 1.0, color="#e6e6e6")
    behind.set_ylim(max(0.5, counts.min() / 2), counts.max() * 2)
    behind.yaxis.set_major_formatter(LogFormatter())
    behind.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    behind.set_ylabel("training images (grey, log scale)", color=MUTED_INK)
    behind.tick_params(axis="y", which="both", colors=MUTED_INK)
    behind.spines[["top", "left", "right"]].set_visible(False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _draw_accuracy(axes: "Axes", axis: ClassAxis, per_class: NDArray[np.float64], name: str, colour: Any) -> None:
    values, places = axis.mean(per_class), np.arange(len(axis))
    axes.set_ylabel("accuracy (%)")
    if len(values) <= NUMBERS_UP_TO:
        axes.plot(places, values, marker="o", markersize=6, linewidth=1.8, color=colour, label=literal(name))
    else:
        axes.plot(places, values, marker=".", markersize=5, linewidth=0, alpha=0.55, color=colour)
        half = max(2, len(values) // 20)
        smooth = [values[max(0, place - half) : place + half + 1].mean() for place in places]
        axes.plot(places, smooth, linewidth=2.4, color=colour, label=literal(name))
        axes.set_ylabel(f"accuracy (%)\ndot: {axis.describe_bin()}\nline: mean of {2 * half + 1} dots")
    axes.set_ylim(0, 105)
    quiet(axes)


def _share_scale(panels: Sequence["Axes"], gains: Sequence[NDArray[np.float64]]) -> None:
    """Give all gain panels one scale, with room for the text along the top."""
    low = min((float(values.min()) for values in gains), default=0.0)
    high = max((float(values.max()) for values in gains), default=0.0)
    low, high = min(low, -1.0), max(high, 1.0)
    for axes in panels:
        axes.set_ylim(low - 0.08 * (high - low), high + 0.45 * (high - low))
