"""How near a layer's spectrum is to the whole network's, and what nearness may be due to other than depth."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr
from scipy.stats import rankdata, wasserstein_distance

from longtail.errors import InputError
from longtail.hessian.density import kernel_width, smooth_grid, smoothed
from longtail.hessian.report import Density, LayerReport, Report

_STEPS = 20  # resolution of the curves compared, that of a Lanczos run of so many steps
_CUT = 1e-8  # of the peak; the published code's Gaussians end there
_LEAST_LAYERS = 4  # a partial correlation of three ranks is always ±1


@dataclass(frozen=True)
class Comparison:
    """Five distances between two spectra, each 0 for equal ones.

    Nearly all eigenvalues of a large layer are zero: of N samples and C classes at most N (C - 1) Gauss-Newton ones are
    not. So distances between shares of the eigenvalues follow the number of parameters; look at `size_control`, and at
    `curvature_scaled`, in which zeros weigh nothing.
    """

    wasserstein: float  # W1 of the eigenvalues: the curvature that has to be moved, times how far
    wasserstein_scaled: float  # the same after division by the largest |eigenvalue| of each: shape alone, 0 to 2
    curvature_scaled: float  # the same between shares of the curvature: an eigenvalue weighs |eigenvalue|
    jensen_shannon: float  # divergence of the smoothed curves on that scaled axis, in bits, 0 to 1
    legacy: float  # W1 of the curves' heights, as in the published code: a spectrum and its mirror image are equal


@dataclass(frozen=True)
class SizeControl:
    """Rank correlations of a distance over layers; None if undefined, as for fewer than four layers."""

    size: float | None  # with the number of parameters: the confound
    depth: float | None  # with |relative depth - 0.5|: positive if middle layers are nearer
    depth_given_size: float | None  # the same after taking out the size: partial rank correlation


@dataclass(frozen=True)
class _Shape:
    """What the distances are made from."""

    density: Density
    scaled: NDArray[np.float64]  # nodes in [-1, 1]
    curvature: NDArray[np.float64]  # weights of the nodes by curvature
    curve: NDArray[np.float64]  # share of the eigenvalues at each position of one grid for all spectra, sum 1
    heights: NDArray[np.float64]  # the published code's


def compare(layer: Density | LayerReport, full: Density | LayerReport) -> Comparison:
    """Return the distances between two spectra.

    True W1 takes the quadratures, positions and weights. The published code of arXiv 2012.03801 instead takes the log
    density's heights as samples, min-max normalised and divided by their sum, without their places; `legacy` does so
    with our curves, whose range and width differ from theirs.

    Args:
        layer: A layer's spectrum.
        full: The spectrum it is compared with, the whole network's. The distances are symmetric.

    Returns:
        The distances.

    Raises:
        InputError: If a report has no density.
    """
    return _distances(_shape(layer), _shape(full))


def compare_layers(report: Report) -> dict[str, Comparison]:
    """Return the distances between each layer's spectrum and the whole network's, of the layers with a density."""
    full = _shape(report.full)
    return {name: _distances(shape, full) for name, shape in _layer_shapes(report).items()}


def compare_others(report: Report) -> dict[str, Comparison]:
    """Return each layer's mean distances to all other layers, a control for `compare_layers`.

    They are what is expected when another layer, drawn at random, takes the whole network's place. Layers resemble the
    whole network in particular, not only one another, if their distances to it are smaller. Nothing for a single layer.
    """
    shapes = _layer_shapes(report)
    if len(shapes) < 2:
        return {}
    return {
        name: Comparison(*np.mean([astuple(_distances(shape, other)) for other in others], axis=0).tolist())
        for name, shape in shapes.items()
        for others in [[other for other in shapes.values() if other is not shape]]
    }


def size_control(distances: Sequence[float], sizes: Sequence[int]) -> SizeControl:
    """Tell nearness of middle layers from nearness of large ones, which are most of the whole network.

    Args:
        distances: Of layers evenly spread over depth to the whole network, first layer first, (L,).
        sizes: Parameters of each layer, (L,).

    Returns:
        Spearman correlations, and the partial one: the correlation of what is left of the ranks after linear regression
        on the ranks of size.
    """
    from_middle = np.abs(2 * np.arange(len(sizes)) - (len(sizes) - 1))  # integers: both sides tie exactly
    distance, size, off = (rankdata(values) for values in (distances, sizes, from_middle))
    return SizeControl(
        size=_correlation(distance, size),
        depth=_correlation(distance, off),
        depth_given_size=_correlation(_rest(distance, size), _rest(off, size)),
    )


def _distances(a: _Shape, b: _Shape) -> Comparison:
    """Return all distances between two spectra."""
    weights = (a.density.weights, b.density.weights)
    middle = (a.curve + b.curve) / 2
    return Comparison(
        wasserstein=float(wasserstein_distance(a.density.nodes, b.density.nodes, *weights)),
        wasserstein_scaled=float(wasserstein_distance(a.scaled, b.scaled, *weights)),
        curvature_scaled=float(wasserstein_distance(a.scaled, b.scaled, a.curvature, b.curvature)),
        jensen_shannon=float((rel_entr(a.curve, middle) + rel_entr(b.curve, middle)).sum() / (2 * math.log(2))),
        legacy=float(wasserstein_distance(a.heights, b.heights)),
    )


def _layer_shapes(report: Report) -> dict[str, _Shape]:
    """Return the shapes of the layers that have a density."""
    return {name: _shape(layer) for name, layer in report.layers.items() if layer.density is not None}


def _shape(layer: Density | LayerReport) -> _Shape:
    """Return what distances take of a spectrum."""
    density = layer.density if isinstance(layer, LayerReport) else layer
    if density is None:
        raise InputError("a block has no spectral density to compare: ask for it in the analysis")
    scaled = density.nodes / (float(np.abs(density.nodes).max()) or 1.0)
    width = kernel_width(1.0, _STEPS)
    curve = smoothed(scaled, density.weights, smooth_grid(-1.0, 1.0, width), width)
    curvature = density.weights * np.abs(scaled) if scaled.any() else density.weights
    return _Shape(density, scaled, curvature, curve / curve.sum(), _legacy_heights(density.curve))


def _legacy_heights(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log density with zeros at its smallest positive value, min-max normalised, with sum 1."""
    heights = np.log(np.maximum(curve, curve[curve > _CUT * curve.max()].min()))
    heights = (heights - heights.min()) / (float(np.ptp(heights)) or 1.0)
    return np.asarray(heights / (math.fsum(heights) or 1.0))  # fsum: the same in any order


def _rest(values: NDArray[np.float64], on: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what linear regression leaves of the values."""
    values, on = values - values.mean(), on - on.mean()
    return values - on * ((values @ on) / ((on @ on) or 1.0))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation of ranks, if there are enough and neither is constant but for rounding."""
    a, b = a - a.mean(), b - b.mean()
    norms = np.linalg.norm(a), np.linalg.norm(b)
    if len(a) < _LEAST_LAYERS or min(norms) < 1e-9 * len(a):
        return None
    return float(a @ b / (norms[0] * norms[1]))
