"""Single numbers of a spectrum: how many directions carry the curvature, and how many stand apart from the rest."""

import numpy as np
from numpy.typing import NDArray

from longtail.hessian.report import Density

_LEAST_RATIO = 2.0  # between neighbours; inside a bulk of more than a few eigenvalues they are closer
_LEAST_SHARE = 0.01  # of the largest eigenvalue; below it, ratios are those of the bulk's decay toward zero


def effective_rank(trace: float, squares: float) -> float:
    """Return (Σλ)² / Σλ², the number of equal eigenvalues with the same sums; 0 for a zero matrix.

    At most the rank if no eigenvalue is negative. Eigenvalues of both signs cancel in the trace, and the number is
    small.

    Args:
        trace: Sum of the eigenvalues.
        squares: Sum of their squares.

    Returns:
        The effective rank.

    >>> effective_rank(3 + 3 + 0, 9 + 9 + 0)
    2.0
    """
    return float(trace**2 / squares) if squares else 0.0


def density_effective_rank(density: Density, parameters: int) -> float:
    """Return the effective rank by a quadrature, P m₁² / m₂ with m the moments of the density of P eigenvalues."""
    first, second = (float(density.weights @ density.nodes**power) for power in (1, 2))
    return parameters * effective_rank(first, second)


def outlier_count(values: NDArray[np.float64], residuals: NDArray[np.float64] | None = None) -> int:
    """Count the top eigenvalues that stand apart: the position of the largest ratio of one to the next.

    With λ₁ ≥ λ₂ ≥ … and residuals r, an eigenvalue within r of each λ, it is the i of the largest

        (λᵢ - rᵢ) / max(λᵢ₊₁ + rᵢ₊₁, λ₁ / 100),

    if that is 2 or more, else 0. So a Ritz value that has not converged opens no gap, and eigenvalues below a
    hundredth of the largest count as zero. About as many outliers as classes are expected (Papyan 2019,
    arXiv 1901.08244). Lanczos finds one of several equal eigenvalues only, so its count may be too low.

    Args:
        values: Eigenvalues or Ritz values in any order, with a zero if the matrix has a null space, (k,).
        residuals: Of Ritz values, (k,); exact without.

    Returns:
        The count; 0 if no eigenvalue is positive, or all are equal.

    >>> outlier_count(np.array([9.0, 8.0, 7.0, 1.0, 0.8, 0.7]))
    3
    """
    order = np.argsort(values)[::-1]
    ordered = values[order]
    errors = np.zeros_like(ordered) if residuals is None else residuals[order]
    if len(ordered) < 2 or ordered[0] <= 0:
        return 0
    below = np.maximum(ordered[1:] + errors[1:], _LEAST_SHARE * ordered[0])
    ratios = (ordered[:-1] - errors[:-1]) / below
    widest = int(np.argmax(ratios))
    return widest + 1 if ratios[widest] >= _LEAST_RATIO else 0
