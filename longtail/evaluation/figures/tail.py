"""What the smallest classes are taken for, before and after the classifier was retrained."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.drawing import INK, MUTED_INK, clip_name, legend_above, literal, new_figure
from longtail.evaluation.figures.axis import class_axis
from longtail.evaluation.metrics import Evaluation
from longtail.evaluation.table import check_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES, _WITHOUT_FEW = 35, 10
_NEIGHBOURS = 3
_NAME_POINTS = 7.5
_PANEL_INCHES = 5.2
_RIGHT, _LARGER, _OTHER_LARGER, _SMALLER, _OTHER_SMALLER = "#0072B2", "#E69F00", "#F8DFA9", "#CC79A7", "#EFD5E3"
_MEANINGS = {
    _RIGHT: "right",
    _LARGER: "nearest classes, larger",
    _OTHER_LARGER: "other larger classes",
    _SMALLER: "nearest classes, not larger",
    _OTHER_SMALLER: "other classes, not larger",
}


def tail_classes(evaluation: Evaluation, train_counts: ArrayLike, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the tested few-shot classes, largest first; if there are none, the ten smallest tested classes.

    Args:
        evaluation: Any evaluation of the classes.
        train_counts: (C,) int, training images of each class.
        class_names: C names.

    Raises:
        InputError: If counts or names are not one per class.
    """
    order = class_axis(evaluation, train_counts, class_names, tested=True).order
    few = order[np.isin(order, evaluation.members("few"))]
    return few if len(few) else order[-_WITHOUT_FEW:]


def tail_rows(
    evaluations: Mapping[str, Evaluation], train_counts: ArrayLike, class_names: Sequence[str]
) -> list[list[str]]:
    """Return a header and a row for each of `tail_classes`, smallest first, over the first and last classifier.

    Args:
        evaluations: Evaluations on one data set by display name.
        train_counts: (C,) int, training images of each class.
        class_names: C names.

    Raises:
        InputError: If there is no evaluation, two of them are of different classes or test images, or counts
            or names are not one per class.
    """
    baseline, counts = check_comparable(evaluations), np.asarray(train_counts)
    shown = _first_and_last(evaluations)
    columns = [f"{name}: {what}" for what in ("right", "taken for") for name in shown]
    rows = [["class", "training images", *columns]]
    for label in tail_classes(baseline, counts, class_names)[::-1]:
        right = [f"{evaluation.per_class[label]:.0f}%" for evaluation in shown.values()]
        taken = []
        for evaluation in shown.values():
            wrong = _wrong(evaluation, label)
            most = _largest(wrong)
            taken.append(", ".join(f"{class_names[i]} ({counts[i]:,}) {wrong[i]:.0f}%" for i in most) or "–")
        rows.append([class_names[label], f"{counts[label]:,}", *right, *taken])
    return rows


def tail_figure(evaluations: Mapping[str, Evaluation], train_counts: ArrayLike, class_names: Sequence[str]) -> "Figure":
    """Draw where the test images of the smallest classes go, by the first classifier and by the last.

    Args:
        evaluations: Evaluations on one data set by display name.
        train_counts: (C,) int, training images of each class.
        class_names: C names.

    Returns:
        A figure with a panel for each of the two classifiers and a bar for each of up to 35 of `tail_classes`:
        what goes right, what goes to its neighbours (the three classes that the two classifiers together confuse
        it with most), by name, and what goes elsewhere; classes with more training images are set apart by colour.

    Raises:
        InputError: If there is no evaluation, two of them are of different classes or test images, or counts
            or names are not one per class.
    """
    from matplotlib.patches import Patch

    baseline, counts = check_comparable(evaluations), np.asarray(train_counts)
    tail, shown = tail_classes(baseline, counts, class_names), _first_and_last(evaluations)
    total, tail = len(tail), tail[-_MOST_CLASSES:]
    figure = new_figure(1.9 + (_PANEL_INCHES + 0.2) * len(shown), 1.9 + 0.25 * len(tail))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    neighbours = [
        _largest(np.sum([_wrong(evaluation, label) for evaluation in shown.values()], axis=0)) for label in tail
    ]
    for axes, (name, evaluation) in zip(panels, shown.items(), strict=True):
        for row, (label, near) in enumerate(zip(tail, neighbours, strict=True)):
            _draw_bar(axes, row, _parts(evaluation, label, near, counts, class_names))
        mean = evaluation.per_class[tail].mean()
        axes.set_title(f"{literal(name)}: {mean:.1f}% right", loc="left", fontsize=11)
        axes.set(xlim=(0, 100), xlabel="% of the class's test images")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    ticks = [f"{clip_name(class_names[label])} ({counts[label]:,})" for label in tail]
    panels[0].set_yticks(range(len(tail)), ticks, fontsize=8.5)
    panels[0].set_ylim(len(tail) - 0.4, -0.6)
    part = "" if total == len(tail) else f", the {len(tail)} smallest of {total:,}"
    panels[0].set_ylabel(f"true class (training images){part}")
    legend_above(figure, [Patch(color=colour) for colour in _MEANINGS], list(_MEANINGS.values()))
    note = f"nearest: the {_NEIGHBOURS} classes that a class is taken for most often; larger: with more training images"
    figure.supxlabel(note, fontsize=9, color=MUTED_INK)
    return figure


def _first_and_last(evaluations: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    names = list(evaluations)
    return {name: evaluations[name] for name in dict.fromkeys([names[0], names[-1]])}


def _wrong(evaluation: Evaluation, label: int) -> NDArray[np.float64]:
    """Return (C,) percent of a class's test images that were taken for each other class."""
    shares = 100.0 * evaluation.confusion[label] / evaluation.support[label]
    shares[label] = 0.0
    return shares  # type: ignore[no-any-return]


def _largest(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return up to three classes with the largest shares above zero."""
    order = np.argsort(-shares, kind="stable")[:_NEIGHBOURS]
    return order[shares[order] > 0]


def _parts(
    evaluation: Evaluation,
    label: int,
    neighbours: NDArray[np.int64],
    counts: NDArray[np.int64],
    class_names: Sequence[str],
) -> list[tuple[float, str, str]]:
    """Return width, colour and text: right, larger neighbours, other larger classes, and both that are not."""
    wrong, larger = _wrong(evaluation, label), counts > counts[label]
    other = wrong.copy()
    other[neighbours] = 0.0
    right = float(evaluation.per_class[label])
    parts = [(right, _RIGHT, f"{right:.0f}%")]
    for is_larger, near_colour, colour in ((True, _LARGER, _OTHER_LARGER), (False, _SMALLER, _OTHER_SMALLER)):
        near = [i for i in neighbours if larger[i] == is_larger]
        parts += [(float(wrong[i]), near_colour, clip_name(class_names[i])) for i in near]
        parts.append((float(other[larger == is_larger].sum()), colour, ""))
    return parts


def _draw_bar(axes: "Axes", row: int, parts: Sequence[tuple[float, str, str]]) -> None:
    """Draw one class's bar, with texts where they fit."""
    left = 0.0
    for width, colour, text in parts:
        axes.barh(row, width, 0.82, left, color=colour, edgecolor="white", linewidth=0.8)
        if text and _inches(text) + 0.04 < width / 100 * _PANEL_INCHES:
            ink = "white" if colour == _RIGHT else INK
            axes.text(left + width / 2, row, text, ha="center", va="center", fontsize=_NAME_POINTS, color=ink)
        left += width


def _inches(text: str) -> float:
    """Return how wide a name is."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=_NAME_POINTS).get_extents().width) / 72
