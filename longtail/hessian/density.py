"""Spectral density: a quadrature by stochastic Lanczos or from all eigenvalues, and a smooth curve made from it."""

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
    moment is the trace over the number of rows (Ghorbani et al. 2019, arXiv 1901.10159).

    Args:
        runs: Lanczos runs on one matrix.
        steps: Lanczos steps asked for, which set the resolution, see `kernel_width`.

    Returns:
        Nodes and weights of all runs, and the smoothed curve, which integrates to 1.
    """
    nodes = np.concatenate([run.values for run in runs])
    weights = np.concatenate([run.weights for run in runs]) / len(runs)
    return _density(nodes, weights, steps)


def exact_density(eigenvalues: NDArray[np.float64], parameters: int, steps: int) -> Density:
    """Return the density of a matrix of which all non-zero eigenvalues are known.

    Args:
        eigenvalues: The non-zero eigenvalues, in any order, (r,).
        parameters: Rows of the matrix, at least r.
        steps: Lanczos steps of the same resolution, see `kernel_width`.

    Returns:
        Every non-zero eigenvalue with weight 1 / parameters, zero with the rest if there is one, and the curve.
    """
    zeros = parameters - len(eigenvalues)
    nodes = np.append(eigenvalues, [0.0] * (zeros > 0))
    weights = np.append(np.ones(len(eigenvalues)), [float(zeros)] * (zeros > 0)) / parameters
    return _density(nodes, weights, steps)


def kernel_width(half_range: float, steps: int) -> float:
    """Return the Gaussian's standard deviation when a range is to be resolved into so many intervals.

    2 / (steps - 1) / sqrt(8 ln 1.25) of half the range, as in the published code of arXiv 2012.03801.
    """
    return float(half_range * 2 / max(steps - 1, 1) / np.sqrt(8 * np.log(_KAPPA)))


def smooth_grid(lowest: float, highest: float, width: float) -> NDArray[np.float64]:
    """Return evenly spaced positions from below the lowest to above the highest node."""
    return np.linspace(lowest - _MARGIN * width, highest + _MARGIN * width, _POINTS)


def smoothed(
    nodes: NDArray[np.float64], weights: NDArray[np.float64], grid: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Return the sum of Gaussians at the nodes, of the weights' areas, on the grid."""
    kernels = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.asarray(kernels @ weights)


def _density(nodes: NDArray[np.float64], weights: NDArray[np.float64], steps: int) -> Density:
    """Return the quadrature in ascending order with its curve."""
    width = kernel_width(_half_range(nodes), steps)
    grid = smooth_grid(nodes.min(), nodes.max(), width)
    order = np.argsort(nodes)
    return Density(nodes[order], weights[order], grid, smoothed(nodes, weights, grid, width))


def _half_range(nodes: NDArray[np.float64]) -> float:
    """Return half the extent of the nodes; a spectrum of one value gets a width from its size."""
    largest = float(np.abs(nodes).max())
    return max(float(np.ptp(nodes)) / 2, 1e-3 * largest) or 1.0
