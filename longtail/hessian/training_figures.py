"""Curvature over the epochs of a training: curves of the whole network, and maps of its layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longtail.drawing import INK, literal, new_figure, quiet
from longtail.hessian.snapshot import Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_MOST_LABELS = 60  # more layer names than that cannot be read
_DECADES = 6  # of a map's colours below its largest value
_NEGATIVE = "#c9c9c9"


def curves_figure(snapshots: Sequence[Snapshot]) -> "Figure":
    """Return trace and top eigenvalue of the whole network by epoch, above the loss on the same images.

    Args:
        snapshots: By time.

    Returns:
        A figure that belongs to no window; values that are not positive are left out of its logarithmic axis.
    """
    figure = new_figure(7.5, 5.2)
    curvature, loss = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    epochs = [snapshot.epoch for snapshot in snapshots]
    for values, colour, marker, label in (
        ([snapshot.trace for snapshot in snapshots], _BLUE, "o", "trace"),
        ([snapshot.top_eigenvalue for snapshot in snapshots], _ORANGE, "s", "top eigenvalue"),
    ):
        positive = [value if value > 0 else np.nan for value in values]
        curvature.plot(epochs, positive, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    curvature.set_yscale("log")
    curvature.set_ylabel("curvature of the whole network")
    curvature.legend(frameon=False)
    loss.plot(epochs, [snapshot.loss for snapshot in snapshots], color=_GREEN, marker="^", markersize=4, linewidth=1.4)
    loss.set_ylim(bottom=0)
    loss.set_ylabel("loss on\nthese images")
    loss.set_xlabel("epoch")
    loss.xaxis.get_major_locator().set_params(integer=True)
    for axes in (curvature, loss):
        quiet(axes)
    curvature.set_title("Curvature of the loss as training goes on", loc="left", fontsize=11, color=INK)
    return figure


def layers_figure(snapshots: Sequence[Snapshot]) -> "Figure":
    """Return two maps, layer by epoch, of trace and top eigenvalue; colours are logarithmic.

    Args:
        snapshots: By time.

    Returns:
        A figure that belongs to no window; values that are not positive are grey.
    """
    names = list(snapshots[0].layer_traces)
    shown = min(len(names), _MOST_LABELS)
    figure = new_figure(10, 1.8 + 0.17 * max(shown, 8))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, rows in (
        (panels[0], "trace", [snapshot.layer_traces for snapshot in snapshots]),
        (panels[1], "top eigenvalue", [snapshot.layer_top_eigenvalues for snapshot in snapshots]),
    ):
        values = np.array([[row[name] for name in names] for row in rows]).T  # (layers, moments)
        _draw_map(figure, axes, values, title)
        places = _ticks(len(snapshots), 12)
        axes.set_xticks(places, [str(snapshots[place].epoch) for place in places], fontsize=8)
        axes.set_xlabel("epoch")
    places = _ticks(len(names), _MOST_LABELS)
    panels[0].set_yticks(places, [literal(names[place].removesuffix(".weight")) for place in places], fontsize=7)
    panels[0].set_ylabel("layer, input to output")
    return figure


def _draw_map(figure: "Figure", axes: "Axes", values: NDArray[np.float64], title: str) -> None:
    from matplotlib.colors import LogNorm

    positive = values[np.isfinite(values) & (values > 0)]
    top = float(positive.max()) if positive.size else 1.0
    bottom = max(float(positive.min()), top * 10.0**-_DECADES) if positive.size else 0.1
    axes.set_facecolor(_NEGATIVE)
    image = axes.imshow(
        np.ma.masked_where(~(values > 0), values),
        norm=LogNorm(min(bottom, 0.9 * top), top),
        cmap="viridis",
        aspect="auto",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, shrink=0.9)
    masked = "; grey: not positive" if (values <= 0).any() else ""
    axes.set_title(f"{title}{masked}", loc="left", fontsize=10, color=INK)


def _ticks(count: int, most: int) -> list[int]:
    """Return evenly spaced places, at most so many."""
    return list(range(0, count, -(-count // most)))
