"""A picture of how near each layer's spectrum is to the whole network's, beside the size of the layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from longtail.drawing import INK, MUTED_INK, OKABE_ITO, new_figure, quiet
from longtail.errors import InputError
from longtail.hessian.comparison import Comparison, compare_layers, size_control
from longtail.hessian.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "wasserstein_scaled": ("$W_1$, scaled", {"color": OKABE_ITO[1], "marker": "o", "linewidth": 1.4}),
    "curvature_scaled": (
        "$W_1$, scaled, weighted with curvature",
        {"color": OKABE_ITO[3], "marker": "D", "linewidth": 1.4},
    ),
    "jensen_shannon": ("Jensen–Shannon (bits)", {"color": OKABE_ITO[5], "marker": "s", "linewidth": 1.4}),
    "legacy": ("published measure, blind to position", {"color": MUTED_INK, "linestyle": ":", "linewidth": 1.0}),
}
_MOST_LABELS = 60  # more layer names than that cannot be read


def distance_figure(report: Report) -> "Figure":
    """Draw the distances of layers to the whole network's spectrum over depth, and their numbers of parameters below.

    Layers without a density are left out. The whole network is mostly its large layers, so the legend gives the
    correlations of `longtail.hessian.comparison.size_control`.

    Args:
        report: The report.

    Returns:
        A figure that belongs to no window; save it with `savefig`.

    Raises:
        InputError: If no layer has a density.
    """
    compared = compare_layers(report)
    if not compared:
        raise InputError("no layer has a spectral density to compare: ask for some in the analysis")
    names = list(compared)
    sizes = [report.layers[name].parameters for name in names]
    figure = new_figure(max(6.5, 2.5 + 0.26 * len(names)), 6.2)
    figure.suptitle(f"Distance of each layer's spectrum to the whole network's, {report.samples} images", fontsize=10.5)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    _draw_distances(top, list(compared.values()), sizes)
    bottom.bar(range(len(names)), sizes, width=0.7, color=OKABE_ITO[6])
    bottom.set(yscale="log", ylabel="parameters", xlim=(-0.6, len(names) - 0.4))
    bottom.yaxis.set_minor_formatter("")  # over less than a decade matplotlib would name steps that overlap
    bottom.set_ylim(bottom=min(sizes) / 3)
    every = -(-len(names) // _MOST_LABELS)
    labels = [name.removesuffix(".weight") for name in names]
    bottom.set_xticks(range(0, len(names), every), labels[::every], rotation=90, fontsize=8 if len(names) > 12 else 9)
    bottom.set_xlabel("layer, input to output")
    for axes in (top, bottom):
        quiet(axes)
    return figure


def _draw_distances(axes: "Axes", found: Sequence[Comparison], sizes: Sequence[int]) -> None:
    """Draw the distances on a log scale, with a line in the middle of the depth."""
    for measure, (label, style) in _LINES.items():
        distances = [getattr(comparison, measure) for comparison in found]
        control = size_control(distances, sizes)
        shown = [distance or float("nan") for distance in distances]  # zero leaves a gap in a log scale
        correlations = f"{_number(control.size)}; {_number(control.depth_given_size)}"
        axes.plot(range(len(found)), shown, markersize=5, label=f"{label} ({correlations})", **style)
    axes.axvline((len(found) - 1) / 2, color=INK, linewidth=0.8, alpha=0.4)
    axes.set(yscale="log", ylabel="distance")
    axes.legend(
        title="measure (rank correlation with size; with distance from the middle, given size)",
        title_fontsize=9,
        fontsize=9,
        frameon=False,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )


def _number(correlation: float | None) -> str:
    return "–" if correlation is None else f"{correlation:+.2f}"
