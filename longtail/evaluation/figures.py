"""Figures of an evaluation: groups side by side, accuracy by class, and the confusion matrix.

Classes run from the largest to the smallest training count. Colours are those of Okabe and Ito, which readers
with colour-blindness can tell apart. Figures are built without pyplot, so nothing global is left behind.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.errors import InputError
from longtail.evaluation.metrics import GROUPS, Evaluation
from longtail.evaluation.table import check_comparable, class_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#7f7f7f", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_INK = "#333333"
_SEPARATOR = "#D55E00"
_NUMBERS_UP_TO = 20
"""Classes up to which cells carry their number and curves pass through every class."""
_NAMES_UP_TO = 120


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
    figure = _figure(max(7.0, 1.0 + 1.9 * len(evaluations)), 4.2)
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
            color=_colours(len(evaluations))[index],
            label=_literal(name),
        )
        axes.bar_label(bars, fmt="{:.1f}", padding=2, fontsize=9, color=_INK)
    ticks = ["all", *(f"{group}\n{class_count(baseline, group)}" for group in GROUPS)]
    axes.set_xticks(range(4), ticks, fontsize=11)
    axes.set_xlim(-0.6, 3.6)
    axes.set_ylim(0, 105)
    axes.set_ylabel("accuracy (%)")
    _quiet(axes)
    _legend(figure, axes)
    return figure


def per_class_figure(
    evaluations: Mapping[str, Evaluation], train_counts: ArrayLike, class_names: Sequence[str]
) -> "Figure":
    """Draw the accuracy of every class over its training count, and each classifier's gain over the first.

    Args:
        evaluations: Evaluations on one data set by display name; gains are over the first.
        train_counts: (C,) int, training images of each class.
        class_names: C names.

    Returns:
        A figure of one panel with the accuracies (with many classes: a dot a class and its running mean) before
        the training counts in grey, and one panel of gains, in points, for each further classifier.

    Raises:
        InputError: If there is no evaluation, two of them are of different classes or test images, or counts
            or names are not one per class.
    """
    baseline = check_comparable(evaluations)
    order, counts = _order(baseline, train_counts, class_names)
    order = order[baseline.support[order] > 0]
    gains = {
        name: (evaluation.per_class - baseline.per_class)[order] for name, evaluation in list(evaluations.items())[1:]
    }
    figure = _figure(min(14.0, 7.0 + 0.08 * len(order)), 4.0 + 1.25 * len(gains))
    panels = figure.subplots(1 + len(gains), sharex=True, squeeze=False, height_ratios=[3.2] + [1.0] * len(gains))[:, 0]
    colours = _colours(len(evaluations))
    _draw_counts(panels[0], counts[order])
    for (name, evaluation), colour in zip(evaluations.items(), colours, strict=True):
        _draw_accuracy(panels[0], evaluation.per_class[order], name, colour)
    spans = _spans([baseline.groups[label] for label in order])
    _mark_groups(panels[0], spans)
    for axes, (name, values), colour in zip(panels[1:], gains.items(), colours[1:], strict=True):
        axes.bar(np.arange(len(order)), values, 0.8, color=colour)
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set_title(_literal(name), loc="left", fontsize=10, pad=2)
        axes.set_ylabel("gain\n(points)")
        _quiet(axes)
        means = [(f"{group} {values[start:stop].mean():+.1f}", start, stop) for group, start, stop in spans]
        _mark_groups(axes, means, inside=True)
    _share_gain_scale(list(panels[1:]), list(gains.values()))
    _name_classes(panels[-1], [class_names[label] for label in order])
    _legend(figure, panels[0])
    return figure


def confusion_figure(evaluation: Evaluation, class_names: Sequence[str], train_counts: ArrayLike) -> "Figure":
    """Draw the confusion matrix in percent of each true class, from the largest to the smallest class.

    Args:
        evaluation: The classifier's evaluation.
        class_names: C names.
        train_counts: (C,) int, training images of each class.

    Returns:
        A figure with numbers in the cells of a small matrix, and lines between many, medium and few. The row of
        a class without test images is grey.

    Raises:
        InputError: If counts or names are not one per class.
    """
    from matplotlib.colors import PowerNorm

    order, _ = _order(evaluation, train_counts, class_names)
    support = evaluation.support[order, None]
    percent = 100.0 * evaluation.confusion[np.ix_(order, order)] / np.maximum(support, 1)
    shares = np.ma.masked_array(percent, np.broadcast_to(support == 0, percent.shape))
    small = len(order) <= _NUMBERS_UP_TO
    side = 4.0 + 0.34 * len(order) if small else 9.6
    figure = _figure(side + 0.9, side)
    axes = figure.subplots()
    axes.set_facecolor("#dddddd")
    # The square root keeps errors of a few percent visible beside a diagonal of eighty.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100), interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("% of the true class's test images")
    bar.outline.set_visible(False)
    if small:
        _number_cells(axes, shares)
    names = [class_names[label] for label in order]
    spans = _spans([evaluation.groups[label] for label in order])
    _name_classes(axes, names)
    _name_rows(axes, names)
    for _, start, _ in spans[1:]:
        axes.axhline(start - 0.5, color=_SEPARATOR, linewidth=1.0)
    _mark_groups(axes, spans, colour=_SEPARATOR)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class, most training images first")
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _colours(number: int) -> list[Any]:
    """Return one colour per classifier, grey for the first."""
    if number <= len(_COLOURS):
        return list(_COLOURS[:number])
    from matplotlib import colormaps

    return [_COLOURS[0], *colormaps["viridis"](np.linspace(0.0, 0.95, number - 1))]


def _order(
    evaluation: Evaluation, train_counts: ArrayLike, class_names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the classes by falling training count, and the counts in class order."""
    counts, size = np.asarray(train_counts), len(evaluation.groups)
    if counts.shape != (size,) or len(class_names) != size:
        raise InputError(
            f"train_counts has shape {counts.shape} and class_names {len(class_names)} names: "
            f"the evaluation has {size} classes; give one of each per class"
        )
    return np.argsort(-counts.astype(np.int64), kind="stable"), counts.astype(np.int64)


def _spans(groups: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (group, first position, position past the last) of each run of equal groups."""
    starts = [place for place, group in enumerate(groups) if place == 0 or groups[place - 1] != group]
    return [(groups[start], start, stop) for start, stop in zip(starts, [*starts[1:], len(groups)], strict=True)]


def _draw_counts(axes: "Axes", counts: NDArray[np.int64]) -> None:
    """Put the training counts, on a log scale of their own, behind the accuracies."""
    from matplotlib.ticker import LogFormatter

    behind = axes.twinx()
    behind.set_yscale("log")
    behind.bar(np.arange(len(counts)), np.maximum(counts, 0.5), 1.0, color="#e6e6e6")
    behind.set_ylim(max(0.5, counts.min() / 2), counts.max() * 2)
    behind.yaxis.set_major_formatter(LogFormatter())
    behind.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    behind.set_ylabel("training images (grey, log scale)", color="#6a6a6a")
    behind.tick_params(axis="y", which="both", colors="#6a6a6a")
    behind.spines[["top", "left", "right"]].set_visible(False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _draw_accuracy(axes: "Axes", values: NDArray[np.float64], name: str, colour: Any) -> None:
    places = np.arange(len(values))
    axes.set_ylabel("accuracy (%)")
    if len(values) <= _NUMBERS_UP_TO:
        axes.plot(places, values, marker="o", markersize=6, linewidth=1.8, color=colour, label=_literal(name))
    else:
        axes.plot(places, values, marker=".", markersize=5, linewidth=0, alpha=0.55, color=colour)
        half = max(2, len(values) // 20)
        smooth = [values[max(0, place - half) : place + half + 1].mean() for place in places]
        axes.plot(places, smooth, linewidth=2.4, color=colour, label=_literal(name))
        axes.set_ylabel(f"accuracy (%)\ndot: one class, line: mean of {2 * half + 1}")
    axes.set_ylim(0, 105)
    _quiet(axes)


def _mark_groups(
    axes: "Axes", spans: Sequence[tuple[str, int, int]], *, inside: bool = False, colour: str = _INK
) -> None:
    """Write each span's text above the axes or inside their top, and draw a line where a span ends."""
    height, side = (0.97, "top") if inside else (1.01, "bottom")
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": side}
    for text, start, stop in spans:
        axes.text((start + stop - 1) / 2, height, text, fontsize=9 if inside else 10, color=colour, **place)
        if start:
            axes.axvline(start - 0.5, color=colour, linewidth=1.0, linestyle=":" if colour == _INK else "-")


def _share_gain_scale(panels: Sequence["Axes"], gains: Sequence[NDArray[np.float64]]) -> None:
    """Give all gain panels one scale, with room for the text along the top."""
    low = min((float(values.min()) for values in gains), default=0.0)
    high = max((float(values.max()) for values in gains), default=0.0)
    low, high = min(low, -1.0), max(high, 1.0)
    for axes in panels:
        axes.set_ylim(low - 0.08 * (high - low), high + 0.45 * (high - low))


def _literal(text: str) -> str:
    """Return the text such that matplotlib reads no mathematics between its dollar signs."""
    return text.replace("$", r"\$")


def _name_classes(axes: "Axes", names: Sequence[str]) -> None:
    names = [_literal(name) for name in names]
    axes.set_xlim(-0.5, len(names) - 0.5)
    if len(names) > _NAMES_UP_TO:
        axes.set_xticks([])
    elif len(names) > _NUMBERS_UP_TO:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    else:
        upright = max(len(name) for name in names) * len(names) <= 60
        axes.set_xticks(range(len(names)), names, rotation=0 if upright else 40, ha="center" if upright else "right")
    axes.set_xlabel("class, most training images first")


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    if len(names) > _NAMES_UP_TO:
        axes.set_yticks([])
    else:
        labels = [_literal(name) for name in names]
        axes.set_yticks(range(len(names)), labels, fontsize=6 if len(names) > _NUMBERS_UP_TO else None)


def _number_cells(axes: "Axes", shares: NDArray[np.float64]) -> None:
    """Write whole percents into the cells; a cell that rounds to nothing stays empty."""
    for (row, column), share in np.ndenumerate(np.ma.filled(shares, 0.0)):
        if share >= 0.5:
            colour = "white" if share > 35 else _INK
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color=colour)


def _quiet(axes: "Axes") -> None:
    """Leave only what carries information: no frame, faint horizontal lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d9d9d9", linewidth=0.7)
    axes.set_axisbelow(True)


def _legend(figure: "Figure", axes: "Axes") -> None:
    """Put the legend above the axes, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    characters = 11 * figure.get_figwidth()
    widths = [len(label) + 7 for label in labels]
    columns = len(labels) if sum(widths) <= characters else max(1, int(characters / max(widths)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)
