"""Three pictures: curvature along training, distances over depth, and trace beside test error."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from longtail.claims.generalisation import arms, common_loss, end_error, matched_trace
from longtail.claims.records import Run, Snapshot
from longtail.claims.spectra import LEGACY, OF_CURVATURE, TRUE, by_depth
from longtail.claims.statistics import mean_interval, record_lows
from longtail.drawing import INK, MUTED_INK, colours, legend_above, new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_MARKERS = ("o", "s", "D", "^")
_NAMED_LAYERS = 12  # more names than that run into each other


def training_figure(runs: Sequence[Run]) -> "Figure":
    """Return trace and top eigenvalue over the epochs, a thin line for each seed and their geometric mean.

    Args:
        runs: Measured after the same epochs.
    """
    figure = new_figure(9.6, 4.0)
    panels = {
        "trace": lambda snapshot: snapshot.trace,
        "top eigenvalue": lambda snapshot: snapshot.top_eigenvalue or np.nan,
    }
    for axes, (label, value) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        _lines(axes, runs, value)
        axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{label} of the Hessian")
        quiet(axes)
    figure.suptitle(f"{runs[0].network}, {runs[0].arm}: {_seeds(runs)}", fontsize=11)
    return figure


def distance_figure(groups: Sequence[Sequence[Run]]) -> "Figure":
    """Return the distance of each layer's spectrum to the whole network's over depth, by three distances.

    Args:
        groups: Runs of one kind of network each, a row of panels for each.
    """
    figure = new_figure(12.6, 0.8 + 3.4 * len(groups))
    grid = figure.subplots(len(groups), 3, squeeze=False)
    titles = {
        TRUE: "Wasserstein, shares of the eigenvalues",
        OF_CURVATURE: "Wasserstein, shares of the curvature",
        LEGACY: "distance of the published code",
    }
    for row, runs in zip(grid, groups, strict=True):
        for axes, (distance, title) in zip(row, titles.items(), strict=True):
            _draw_depth(axes, runs, distance)
            axes.set_title(f"{runs[0].network}\n{title}", fontsize=10, loc="left")
    figure.suptitle("grey: middle layers; star: the nearest; thin lines: single networks", fontsize=9, color=MUTED_INK)
    return figure


def flatness_figure(runs: Sequence[Run]) -> "Figure":
    """Return trace along the training loss, and test error beside the trace where all have the same training loss."""
    loss, names = common_loss(runs), arms(runs)
    figure = new_figure(10.4, 4.6)
    course, scatter = figure.subplots(1, 2)
    for colour, marker, arm in zip(colours(len(names)), _MARKERS, names, strict=False):
        own = [run for run in runs if run.arm == arm]
        for run in own:
            kept = [run.snapshots[place] for place in record_lows([x.train_loss for x in run.snapshots])]
            course.plot([x.train_loss for x in kept], [x.trace for x in kept], color=colour, linewidth=1, alpha=0.7)
        traces, errors = [matched_trace(run, loss) for run in own], [end_error(run) for run in own]
        scatter.scatter(traces, errors, color=colour, marker=marker, s=28, alpha=0.55, linewidth=0)
        middle, error = mean_interval(np.log(traces)).exponential(), mean_interval(errors)
        scatter.errorbar(
            middle.value,
            error.value,
            xerr=[[middle.value - middle.low], [middle.high - middle.value]],
            yerr=[[error.value - error.low], [error.high - error.value]],
            color=colour,
            marker=marker,
            markersize=9,
            markeredgecolor=INK,
            capsize=3,
            label=arm,
        )
    course.axvline(loss, color=INK, linestyle="--", linewidth=1)
    course.set(xscale="log", yscale="log", xlabel="training loss, falling to the right", ylabel="trace")
    course.invert_xaxis()
    scatter.set(xscale="log", xlabel=f"trace at training loss {loss:.3g} (dashed)", ylabel="test error at the end (%)")
    for axes in (course, scatter):
        quiet(axes)
    handles, labels = scatter.get_legend_handles_labels()
    legend_above(
        figure,
        handles,
        [f"{label}: seeds, mean and its 95 % interval" if not i else label for i, label in enumerate(labels)],
    )
    return figure


def _lines(axes: "Axes", runs: Sequence[Run], value: Callable[[Snapshot], float]) -> None:
    epochs = [snapshot.epoch for snapshot in runs[0].snapshots]
    curves = np.array([[value(snapshot) for snapshot in run.snapshots] for run in runs])
    for curve in curves:
        axes.plot(epochs, curve, color=_BLUE, linewidth=0.9, alpha=0.35)
    axes.plot(epochs, np.exp(np.log(curves).mean(0)), color=_BLUE, linewidth=2.2, marker="o", markersize=3)


def _draw_depth(axes: "Axes", runs: Sequence[Run], distance: str) -> None:
    found = by_depth(runs, distance)
    places = np.arange(len(found))
    curves = np.array(list(found.values())).T  # (runs, layers)
    middle = [place for place, name in enumerate(found) if name in runs[0].middle]
    if middle:
        axes.axvspan(middle[0] - 0.5, middle[-1] + 0.5, color="#eeeeee", zorder=0)
    for curve in curves:
        axes.plot(places, curve, color=_ORANGE, linewidth=0.9, alpha=0.35)
    axes.plot(places, curves.mean(0), color=_ORANGE, linewidth=2.2, marker="o", markersize=4)
    axes.plot(curves.mean(0).argmin(), curves.mean(0).min(), "*", color=INK, markersize=13)
    if len(found) <= _NAMED_LAYERS:
        axes.set_xticks(places, [name.removesuffix(".weight").removeprefix("backbone.") for name in found])
    else:
        axes.set_xlabel("layer, input to output")
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("distance to the whole")
    quiet(axes)


def _seeds(runs: Sequence[Run]) -> str:
    return f"{len(runs)} seeds and their geometric mean" if len(runs) > 1 else f"seed {runs[0].seed}"
