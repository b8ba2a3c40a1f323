"""Two pictures of a report: the spectral densities, and curvature over depth."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longtail.hessian.report import LayerReport, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE = "#0072b2", "#d55e00"  # Okabe and Ito's palette: told apart by colour-blind readers
_PANELS = 6
_DECADES = 8  # of the log density shown below its peak
_MOST_LABELS = 60  # more layer names than that cannot be read


def density_figure(report: Report) -> "Figure":
    """Draw the full network's spectral density, and those of up to six of the layers that have one, spread over depth.

    Args:
        report: The report.

    Returns:
        A figure that belongs to no window; save it with `savefig`.
    """
    from matplotlib.figure import Figure

    names = [name for name, layer in report.layers.items() if layer.density is not None]
    shown = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(_PANELS, len(names))).round().astype(int))]
    rows = -(-len(shown) // 3)
    figure = Figure(figsize=(10, 3.6 + 2.1 * rows), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(rows + 1, 3, height_ratios=[1.5] + [1] * rows)
    _draw_density(figure.add_subplot(grid[0, :]), "full network", report.full, large=True)
    for i, name in enumerate(shown):
        _draw_density(figure.add_subplot(grid[1 + i // 3, i % 3]), _short(name), report.layers[name], large=False)
    figure.suptitle(f"Spectral density of the loss Hessian, {report.samples} images, mean loss {report.loss:.3g}")
    figure.supylabel("density (share of eigenvalues per unit)", fontsize=10)
    figure.supxlabel("eigenvalue", fontsize=10)
    return figure


def _draw_density(axes: "Axes", name: str, layer: LayerReport, *, large: bool) -> None:
    """Draw one density on a log scale, and a dashed line at the top eigenvalue."""
    density = layer.density
    assert density is not None
    peak = float(density.curve.max())
    floor = peak * 10.0**-_DECADES
    axes.fill_between(density.grid, floor, np.maximum(density.curve, floor), color=_BLUE, alpha=0.25, linewidth=0)
    axes.plot(density.grid, np.maximum(density.curve, floor), color=_BLUE, linewidth=1.4)
    axes.axvline(layer.top_eigenvalue, color=_ORANGE, linewidth=1.2, linestyle="--")
    axes.set(yscale="log", ylim=(floor, peak * 5), xlim=(density.grid[0], density.grid[-1]))
    below = "   " if large else "\n"  # small panels stand side by side
    title = f"{name}{below}{layer.parameters:,} parameters, $\\lambda_{{max}}$ {layer.top_eigenvalue:.3g}"
    axes.set_title(title, fontsize=11 if large else 8, loc="left")
    axes.tick_params(labelsize=9 if large else 8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def depth_figure(report: Report) -> "Figure":
    """Draw each layer's trace with its standard error, and its top eigenvalue, over depth on a log scale.

    A negative value is drawn at its size with a hollow marker.

    Args:
        report: The report.

    Returns:
        A figure that belongs to no window; save it with `savefig`.
    """
    from matplotlib.figure import Figure

    layers = list(report.layers.values())
    figure = Figure(figsize=(max(6.5, 2.5 + 0.26 * len(layers)), 5.6), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_yscale("log")
    traces = np.array([layer.trace for layer in layers])
    errors = np.array([layer.trace_stderr for layer in layers])
    lower = np.minimum(errors, 0.9 * np.abs(traces))  # a bar down to zero would leave the log scale
    axes.errorbar(
        np.arange(len(layers)),
        np.abs(traces),
        yerr=np.stack([lower, errors]),
        fmt="none",
        ecolor=_BLUE,
        elinewidth=1,
        capsize=2.5,
    )
    _draw_signed(axes, traces, _BLUE, "o", "trace (bars: one standard error of the probes)")
    tops = np.array([layer.top_eigenvalue for layer in layers])
    _draw_signed(axes, tops, _ORANGE, "s", "top eigenvalue")
    negative = bool((traces < 0).any() or (tops < 0).any())
    _label_depth(axes, report, "\nhollow: negative, drawn at its size" if negative else "")
    return figure


def _draw_signed(axes: "Axes", values: NDArray[np.float64], color: str, marker: str, label: str) -> None:
    """Draw sizes as a line with markers, hollow for negative values; zeros leave a gap."""
    places = np.arange(len(values))
    sizes = np.where(values == 0, np.nan, np.abs(values))
    axes.plot(places, sizes, color=color, marker=marker, markersize=5, linewidth=1.2, label=label)
    hollow = values < 0
    axes.plot(
        places[hollow], sizes[hollow], marker, color=color, markersize=5, markerfacecolor="white", markeredgewidth=1.2
    )


def _label_depth(axes: "Axes", report: Report, note: str) -> None:
    """Set title, axes, legend and the names of the layers."""
    names = [_short(name) for name in report.layers]
    every = -(-len(names) // _MOST_LABELS)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90, fontsize=8 if len(names) > 12 else 9)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xlabel("layer, input to output")
    axes.set_ylabel("curvature (loss per squared unit of weight)")
    axes.set_title(
        f"Curvature over depth, {report.samples} images, mean loss {report.loss:.3g}\n"
        f"full network: trace {report.full.trace:.4g} ± {report.full.trace_stderr:.2g}, "
        f"top eigenvalue {report.full.top_eigenvalue:.4g}{note}",
        fontsize=10.5,
        loc="left",
    )
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _short(name: str) -> str:
    """Return a parameter's name without the ending that nearly all have."""
    return name.removesuffix(".weight")
