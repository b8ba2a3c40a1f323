"""Lanczos tridiagonalisation with full reorthogonalisation, of several symmetric matrices side by side.

The matrices are seen only through one function that multiplies each with its own vector, so that a caller whose
products share work (one graph for every layer) pays for that work once a step.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)

_LEAST_STEPS = 3  # before a run may end on its accuracy: earlier the next eigenvalue is hardly known
_DOUBT = 3  # for the same reason the error may be so much larger than it looks


@dataclass(frozen=True)
class Spectrum:
    """Ritz values of one Lanczos run, ascending, with what the run knows about them."""

    values: NDArray[np.float64]  # (k,)
    weights: NDArray[np.float64]  # (k,) squared first components of the eigenvectors, sum 1
    residuals: NDArray[np.float64]  # (k,) norm of A y - value y for each Ritz vector y: an eigenvalue is that near


class _Run:
    """One matrix's recurrence: the basis so far and the vector to multiply next."""

    def __init__(self, start: Tensor, steps: int, tolerance: float, accuracy: float | None) -> None:
        self.basis = torch.empty(steps, start.numel(), dtype=start.dtype, device=start.device)  # rows orthonormal
        self.basis[0] = start / torch.linalg.vector_norm(start)
        self.tolerance, self.accuracy = tolerance, accuracy
        self.diagonal: list[float] = []
        self.beside: list[float] = []
        self.done = False

    @property
    def vector(self) -> Tensor:
        return self.basis[len(self.diagonal)]

    def advance(self, product: Tensor) -> None:
        """Take the product with the current vector; two Gram-Schmidt passes keep the basis orthonormal."""
        rows = self.basis[: len(self.diagonal) + 1]
        self.diagonal.append(float(torch.dot(self.vector, product)))
        rest = product
        for _ in range(2):
            rest = rest - rows.T @ (rows @ rest)
        norm = float(torch.linalg.vector_norm(rest))
        if not np.isfinite(self.diagonal[-1] + norm):
            raise RuntimeError(
                f"Lanczos step {len(self.diagonal)}: the product is not finite; look for overflow in the model"
            )
        self.beside.append(norm)
        scale = max(abs(entry) for entry in self.diagonal + self.beside)
        self.done = len(rows) == len(self.basis) or norm <= self.tolerance * scale or self._accurate()
        if not self.done:
            self.basis[len(rows)] = rest / norm

    def _accurate(self) -> bool:
        """Return whether the top Ritz value is as near an eigenvalue as asked, by the bound for a separated one."""
        if self.accuracy is None or len(self.diagonal) < _LEAST_STEPS:
            return False
        found = self.spectrum()
        residual, gap = found.residuals[-1], found.values[-1] - found.values[-2] - found.residuals[-2]
        error = residual**2 / gap if gap > residual else residual
        return bool(_DOUBT * error <= self.accuracy * abs(found.values[-1]))

    def spectrum(self) -> Spectrum:
        """Return the tridiagonal matrix's eigenvalues and what goes with them."""
        matrix = np.diag(self.diagonal) + np.diag(self.beside[:-1], 1) + np.diag(self.beside[:-1], -1)
        values, vectors = np.linalg.eigh(matrix)
        return Spectrum(values, vectors[0] ** 2, self.beside[-1] * np.abs(vectors[-1]))


def lanczos(
    products: Callable[[dict[Key, Tensor]], Mapping[Key, Tensor]],
    starts: Mapping[Key, Tensor],
    steps: int,
    *,
    tolerance: float | None = None,
    accuracies: Mapping[Key, float] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> dict[Key, Spectrum]:
    """Run Lanczos on several symmetric matrices at once, one joint product a step.

    A run ends after `steps` products, or as many as its matrix has rows, or when its Krylov space is exhausted;
    the others go on. Without reorthogonalisation float32 runs grow copies of the outer eigenvalues; with it they
    do not (Golub and Van Loan, Matrix Computations, section 10.3).

    Args:
        products: Takes the vectors of the runs still going, each (P,), and returns each matrix times its vector.
        starts: Start vector of each run, (P,), not zero.
        steps: Most products of a run; memory is `steps` vectors a run.
        tolerance: A run is exhausted when the next off-diagonal entry is below this share of the largest entry.
            By default 6e-6 in float32 and 2e-12 in float64.
        accuracies: Runs that may end as soon as their top eigenvalue is known with so small a relative error. With
            residual r and a distance g to the next eigenvalue the error is at most r and r^2 / g (Parlett, The
            Symmetric Eigenvalue Problem, section 11.7); g is taken to the next Ritz value plus its residual, as
            the best that is known.
        progress: Called after every step with the steps done and the most there can be.

    Returns:
        The spectrum of each run by its key.

    Raises:
        RuntimeError: If a product is not finite.

    >>> A = torch.diag(torch.tensor([3.0, 1.0, 1.0, -2.0], dtype=torch.float64))
    >>> lanczos(lambda vectors: {0: A @ vectors[0]}, {0: torch.ones(4).double()}, 4)[0].values.round(6).tolist()
    [-2.0, 1.0, 3.0]
    """
    runs = {
        key: _Run(
            start, min(steps, start.numel()), tolerance or torch.finfo(start.dtype).eps ** 0.75, accuracies.get(key)
        )
        for key, start in starts.items()
    }
    for step in range(steps):
        going = {key: run for key, run in runs.items() if not run.done}
        if not going:
            break
        for key, product in products({key: run.vector for key, run in going.items()}).items():
            going[key].advance(product)
        if progress:
            progress(step + 1, steps)
    return {key: run.spectrum() for key, run in runs.items()}
