"""Figures of the results table: accuracy of each method, and its gain over the network as trained.

One row a method under the name of its base, two bars in it: all classes and few-shot classes, with the standard
deviation over runs.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from longtail.drawing import INK, OKABE_ITO, literal, new_figure, quiet
from longtail.errors import InputError
from longtail.evaluation.results_table import Statistic, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUPS = (("all classes", OKABE_ITO[1]), ("few-shot classes", OKABE_ITO[2]))
_BAR = 0.38
_HEADING_ROWS = 1.0
_INCHES_PER_ROW = 0.42

Bars = tuple[Statistic | None, Statistic | None]


def accuracy_figure(summaries: Sequence[Summary]) -> "Figure":
    """Draw the accuracy over all and over few-shot classes of every method.

    Args:
        summaries: Of one imbalance factor, in the order of the table.

    Returns:
        A figure with one row a method, under the name and epochs of its base; the spread is drawn where there is
        more than one run.

    Raises:
        InputError: If there is no summary, or they are of different imbalance factors.
    """
    _check(summaries)
    figure = _rows(summaries, [(entry.scores["top1"], entry.scores["few"]) for entry in summaries], "{:.1f}")
    figure.axes[0].set_xlabel("accuracy on the test set (%)")
    figure.axes[0].set_xlim(left=0)
    return figure


def gain_figure(summaries: Sequence[Summary]) -> "Figure":
    """Draw the gain of every method over the same network as trained.

    Args:
        summaries: Of one imbalance factor, in the order of the table; methods without a gain have no row.

    Returns:
        A figure of the same form as `accuracy_figure`; an empty one says so.

    Raises:
        InputError: If there is no summary, or they are of different imbalance factors.
    """
    _check(summaries)
    shown = [entry for entry in summaries if entry.gain is not None]
    figure = _rows(shown, [(entry.gain, entry.gain_few) for entry in shown], "{:+.1f}")
    axes = figure.axes[0]
    axes.set_xlabel("gain over the same network as trained (points)")
    axes.axvline(0, color=INK, linewidth=0.8)
    if not shown:
        axes.text(0.5, 0.5, "no method but the networks as trained", ha="center", transform=axes.transAxes)
    return figure


def _check(summaries: Sequence[Summary]) -> None:
    found = sorted({entry.imbalance_factor for entry in summaries})
    if len(found) != 1:
        raise InputError(f"there are results of {len(found)} imbalance factors: draw those of one")


def _rows(summaries: Sequence[Summary], bars: Sequence[Bars], form: str) -> "Figure":
    bases = len({(entry.base, entry.epochs) for entry in summaries})
    height = max(len(summaries) + _HEADING_ROWS * bases, 2)
    figure = new_figure(8.0, 1.1 + _INCHES_PER_ROW * height)
    axes = figure.subplots()
    places = _places(axes, summaries)
    known = [index for index in range(len(_GROUPS)) if any(pair[index] is not None for pair in bars)]
    for place_of_bar, index in enumerate(known):
        beside = (place_of_bar - (len(known) - 1) / 2) * _BAR
        _draw(
            axes,
            [(place + beside, pair[index]) for place, pair in zip(places, bars, strict=True)],
            *_GROUPS[index],
            form,
        )
    axes.set_yticks(places, [literal(entry.method) for entry in summaries])
    axes.set_ylim((places[-1] if places else 0) + 0.7, -0.5)
    quiet(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    if places:
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _places(axes: "Axes", summaries: Sequence[Summary]) -> list[float]:
    """Return where each summary's row is, after writing the name of every base above its rows."""
    places: list[float] = []
    for (base, epochs), group in groupby(summaries, lambda entry: (entry.base, entry.epochs)):
        heading = (places[-1] + 1 if places else 0.0) + 0.1
        axes.text(
            0,
            heading,
            f"{literal(base)}, {epochs} epochs",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=10,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        places += [heading + 0.9 * _HEADING_ROWS + number for number, _ in enumerate(group)]
    return places


def _draw(axes: "Axes", bars: Sequence[tuple[float, Statistic | None]], name: str, colour: str, form: str) -> None:
    """Draw bars with their spread and value; a missing one leaves its place empty."""
    shown = [(place, statistic) for place, statistic in bars if statistic is not None]
    places, means = [place for place, _ in shown], [statistic.mean for _, statistic in shown]
    spreads = [statistic.sd or 0.0 for _, statistic in shown]
    drawn = axes.barh(places, means, _BAR, color=colour, label=name)
    caps = [spread or float("nan") for spread in spreads]  # a single run has no spread to draw
    axes.errorbar(means, places, xerr=caps, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2.5)
    for bar, mean, spread in zip(drawn, means, spreads, strict=True):
        side = -1 if mean < 0 else 1
        axes.annotate(
            form.format(mean),
            (mean + side * spread, bar.get_y() + bar.get_height() / 2),
            (side * 5, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=8,
            color=INK,
        )
