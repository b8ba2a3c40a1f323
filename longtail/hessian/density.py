"""Spectral density by stochastic Lanczos quadrature, from the Ritz values and weights of a few runs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.hessian.lanczos import Spectrum
from longtail.hessian.report import Density

_POINTS = 1024
_KAPPA = 1.25
_MARGIN = 4.0  # standard deviations beyond the outer nodes: the curve keeps all but 3e-5 of their mass


def spectral_density(runs: Sequence[Spectrum], steps: int) -> Density:
    """Average the quadratures of several start vectors and smooth them with a Gaussian.

    The quadrature of a run is exact for polynomials up to degree 2k - 1; in the mean over start vectors its first
    moment is the trace over the number of rows (Ghorbani et al. 2019, arXiv 1901.10159). The width follows the
    published code of arXiv 2012.03801: 2 / (steps - 1) / sqrt(8 ln 1.25) of half the range.

    Args:
        runs: Lanczos runs on one matrix.
        steps: Lanczos steps asked for, which set the resolution: the range is resolved into that many intervals.

    Returns:
        Nodes and weights of all runs, and the smoothed curve, which integrates to 1.
    """
    nodes = np.concatenate([run.values for run in runs])
    weights = np.concatenate([run.weights for run in runs]) / len(runs)
    half_range = _half_range(nodes)
    width = half_range * 2 / max(steps - 1, 1) / np.sqrt(8 * np.log(_KAPPA))
    grid = np.linspace(nodes.min() - _MARGIN * width, nodes.max() + _MARGIN * width, _POINTS)
    kernels = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    order = np.argsort(nodes)
    return Density(nodes[order], weights[order], grid, kernels @ weights)


def _half_range(nodes: NDArray[np.float64]) -> float:
    """Return half the extent of the nodes; a spectrum of one value gets a width from its size."""
    largest = float(np.abs(nodes).max())
    return max(float(np.ptp(nodes)) / 2, 1e-3 * largest) or 1.0
