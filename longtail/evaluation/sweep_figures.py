"""Figures of a sweep: accuracy over the values of a setting, over two settings at once, and by method.

Values stand at equal distances, numbers in ascending order, whatever their distance: a sweep's values are often
decades apart. Error bars are one standard deviation over the seeds. Colours are those of the other figures of an
evaluation, the first method's grey, and each method has a marker of its own.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longtail.drawing import INK, MUTED_INK, OKABE_ITO, legend_above, literal, new_figure, quiet
from longtail.errors import InputError
from longtail.evaluation.sweep_table import SCORES, Row, Spread, SweepTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_PANELS = {"all": "all classes", "few": "few-shot classes"}
_SAME = 1e-9
_UPRIGHT_CHARACTERS = 44  # of all tick labels of a panel, above which they would run into each other


def setting_figure(table: SweepTable, key: str, held: Mapping[str, str]) -> "Figure":
    """Return every method's accuracy over the values of one swept setting, for all classes and few-shot ones.

    Args:
        table: The sweep.
        key: The setting.
        held: Value of each other swept setting at which the accuracies are shown.

    Raises:
        InputError: If the setting was not swept.
    """
    if key not in table.keys:
        raise InputError(f"{key!r} was not swept: choose from {', '.join(table.keys) or 'nothing'}")
    values = _ascending(table.values[key])
    panels = _panels(table)
    width = max(4.6, 2.0 + 0.62 * len(values))
    figure = new_figure(width * len(panels), 4.4)
    for axes, score in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, method in enumerate(table.methods):
            rows = [table.find(method, {**held, key: value}) for value in values]
            _draw_line(axes, [_score(row, score) for row in rows], _shift(place, len(table.methods)), place, method)
        _name_values(axes, values)
        axes.set_xlim(-0.45, len(values) - 0.55)
        axes.set_xlabel(literal(key), fontsize=11)
        axes.set_title(_PANELS[score], fontsize=12)
        axes.set_ylabel("accuracy (%)", fontsize=11)
        quiet(axes)
    _describe(figure, table, _others(table, held, key))
    _legend(figure)
    return figure


def heat_figure(table: SweepTable, keys: tuple[str, str], held: Mapping[str, str]) -> "Figure":
    """Return the mean accuracy over two swept settings as heat maps, a row for each method that they touch.

    Args:
        table: The sweep.
        keys: The settings, the first across, the second upwards.
        held: Value of each other swept setting at which the accuracies are shown.

    Raises:
        InputError: If a setting was not swept.
    """
    if missing := [key for key in keys if key not in table.keys]:
        raise InputError(f"{missing[0]!r} was not swept: choose from {', '.join(table.keys) or 'nothing'}")
    across, upwards = (_ascending(table.values[key]) for key in keys)
    panels = _panels(table)

    def means(method: str, score: str) -> NDArray[np.float64]:
        places = [[{**held, keys[0]: x, keys[1]: y} for x in across] for y in upwards]
        return np.array([[_mean(table.find(method, place), score) for place in row] for row in places])

    maps = {method: [means(method, score) for score in panels] for method in table.methods}
    maps = {method: own for method, own in maps.items() if any(map(_varies, own))} or maps
    width, height = max(3.4, 1.6 + 0.66 * len(across)), max(2.2, 0.9 + 0.5 * len(upwards))
    figure = new_figure(width * len(panels), height * len(maps) + 1.4)
    grid = figure.subplots(len(maps), len(panels), squeeze=False, sharex=True, sharey=True)
    for column, score in enumerate(panels):
        drawn = [own[column] for own in maps.values()]
        _draw_maps(list(grid[:, column]), drawn, f"{_PANELS[score]}, mean accuracy (%)")
        _name_values(grid[-1, column], across)
        grid[-1, column].set_xlabel(literal(keys[0]), fontsize=11)
    for axes, method in zip(grid[:, 0], maps, strict=True):
        axes.set_yticks(range(len(upwards)), [literal(value) for value in upwards])
        axes.set_ylabel(f"{literal(method)}\n{literal(keys[1])}", fontsize=11)
    _describe(figure, table, _others(table, held, *keys), bars=False)
    return figure


def methods_figure(table: SweepTable, held: Mapping[str, str]) -> "Figure":
    """Return every method's accuracy over all, many, medium and few classes, with its spread over the seeds.

    Args:
        table: The sweep.
        held: Value of each swept setting at which the accuracies are shown.
    """
    figure = new_figure(max(7.0, 1.0 + 2.1 * len(table.methods)), 4.4)
    axes = figure.subplots()
    width = 0.84 / len(table.methods)
    for place, method in enumerate(table.methods):
        spreads = [_score(table.find(method, held), score) for score in SCORES]
        shown = [(x, spread) for x, spread in enumerate(spreads) if spread is not None]
        middles = [x + (place - (len(table.methods) - 1) / 2) * width for x, _ in shown]
        deviations = [spread.deviation or 0.0 for _, spread in shown]
        bars = axes.bar(
            middles,
            [spread.mean for _, spread in shown],
            width * 0.94,
            yerr=deviations if any(deviations) else None,
            error_kw={"elinewidth": 1.4, "capsize": 3, "ecolor": INK},
            color=_colour(place),
            label=literal(method),
        )
        axes.bar_label(bars, fmt="{:.1f}", padding=3, fontsize=9, color=INK)
    axes.set_xticks(range(len(SCORES)), SCORES, fontsize=12)
    axes.set_ylim(0, 108)
    axes.set_ylabel("accuracy (%)", fontsize=11)
    quiet(axes)
    _describe(figure, table, _others(table, held))
    _legend(figure)
    return figure


def _panels(table: SweepTable) -> list[str]:
    """Return the scores to draw: few-shot classes only if there are any."""
    return [score for score in _PANELS if any(row.spreads[score] for row in table.rows)]


def _ascending(values: Sequence[str]) -> list[str]:
    """Return numbers in ascending order and anything else as it comes."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return list(values)


def _score(row: Row | None, score: str) -> Spread | None:
    return row.spreads[score] if row else None


def _mean(row: Row | None, score: str) -> float:
    spread = _score(row, score)
    return spread.mean if spread else np.nan


def _varies(values: NDArray[np.float64]) -> bool:
    found = values[np.isfinite(values)]
    return found.size > 0 and bool(np.ptp(found) > _SAME)


def _shift(place: int, number: int) -> float:
    """Return how far a method's points stand beside their value, so that error bars do not hide each other."""
    return (place - (number - 1) / 2) * min(0.07, 0.4 / number)


def _draw_line(axes: "Axes", spreads: Sequence[Spread | None], shift: float, place: int, name: str) -> None:
    shown = [(x + shift, spread) for x, spread in enumerate(spreads) if spread is not None]
    axes.errorbar(
        [x for x, _ in shown],
        [spread.mean for _, spread in shown],
        yerr=[spread.deviation or 0.0 for _, spread in shown] if any(spread.deviation for _, spread in shown) else None,
        color=_colour(place),
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=7,
        linewidth=1.8,
        elinewidth=1.4,
        capsize=4,
        label=literal(name),
    )


def _draw_maps(column: Sequence["Axes"], maps: Sequence[NDArray[np.float64]], label: str) -> None:
    """Draw heat maps on one scale, with their numbers and the best cell of each framed."""
    from matplotlib.patches import Rectangle

    found = np.concatenate([values[np.isfinite(values)] for values in maps])
    low, high = (found.min(), found.max()) if found.size else (0.0, 1.0)
    for axes, values in zip(column, maps, strict=True):
        axes.set_facecolor("#dddddd")
        image = axes.imshow(values, cmap="Blues", vmin=low, vmax=max(high, low + _SAME), origin="lower", aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value > low + 0.5 * (high - low) else INK
                axes.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=11, color=colour)
        if _varies(values):
            y, x = np.unravel_index(np.nanargmax(values), values.shape)
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=OKABE_ITO[5], linewidth=2.5))
    bar = column[0].figure.colorbar(image, ax=list(column), location="top", aspect=30)
    bar.set_label(label, fontsize=12)
    bar.outline.set_visible(False)


def _name_values(axes: "Axes", values: Sequence[str]) -> None:
    upright = max(len(value) for value in values) * len(values) <= _UPRIGHT_CHARACTERS
    axes.set_xticks(range(len(values)), [literal(value) for value in values])
    if not upright:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _others(table: SweepTable, held: Mapping[str, str], *drawn: str) -> str:
    return ", ".join(f"{key} = {held[key]}" for key in table.keys if key not in drawn)


def _describe(figure: "Figure", table: SweepTable, others: str, *, bars: bool = True) -> None:
    """Write below the figure what it holds fixed and over which seeds it counts."""
    number = len(table.seeds)
    seeds = "one seed" if number == 1 else f"mean{' ± standard deviation' if bars else ''} of {number} seeds"
    figure.supxlabel(literal(f"{others}; {seeds}" if others else seeds), fontsize=10, color=MUTED_INK)


def _colour(place: int) -> str:
    return OKABE_ITO[place % len(OKABE_ITO)]


def _legend(figure: "Figure") -> None:
    legend_above(figure, *figure.axes[0].get_legend_handles_labels())
