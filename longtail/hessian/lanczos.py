"""Lanczos tridiagonalisation with full reorthogonalisation, of several symmetric matrices side by side.

The matrices are seen only through one function that multiplies each with its own vector, so that a caller whose
products share work (one graph for every layer) pays for that work once a step.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Spectrum:
    """Ritz values of one Lanczos run, ascending, with what the run knows about them."""

    values: NDArray[np.float64]  # (k,)
    weights: NDArray[np.float64]  # (k,) squared first components of the eigenvectors, sum 1
    residuals: NDArray[np.float64]  # (k,) norm of A y - value y for each Ritz vector y: an eigenvalue is that near


class Run(Protocol):
    """The search for one matrix's eigenvalues: it gives a vector and takes the product, until it is done."""

    done: bool

    @property
    def vector(self) -> Tensor:
        """The vector to multiply next, (P,)."""

    def advance(self, product: Tensor) -> None:
        """Take the product with the vector."""

    def spectrum(self) -> Spectrum:
        """Return what is known of the eigenvalues."""


class LanczosRun:
    """One matrix's recurrence: the basis so far and the vector to multiply next.

    Args:
        start: Start vector, (P,), not zero.
        steps: Most products; memory is as many vectors.
        tolerance: The Krylov space is exhausted when the next off-diagonal entry is below this share of the largest.
            By default 6e-6 in float32 and 2e-12 in float64.
    """

    def __init__(self, start: Tensor, steps: int, tolerance: float | None = None) -> None:
        rows = min(steps, start.numel())
        self.basis = torch.empty(rows, start.numel(), dtype=start.dtype, device=start.device)  # rows orthonormal
        self.basis[0] = start / torch.linalg.vector_norm(start)
        self.tolerance = tolerance or torch.finfo(start.dtype).eps ** 0.75
        self.diagonal: list[float] = []
        self.beside: list[float] = []
        self.done = False

    @property
    def vector(self) -> Tensor:
        """The vector to multiply next, (P,)."""
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
        self.done = len(rows) == len(self.basis) or norm <= self.tolerance * scale
        if not self.done:
            self.basis[len(rows)] = rest / norm

    def spectrum(self) -> Spectrum:
        """Return the tridiagonal matrix's eigenvalues and what goes with them."""
        matrix = np.diag(self.diagonal) + np.diag(self.beside[:-1], 1) + np.diag(self.beside[:-1], -1)
        values, vectors = np.linalg.eigh(matrix)
        return Spectrum(values, vectors[0] ** 2, self.beside[-1] * np.abs(vectors[-1]))


def side_by_side(
    runs: Mapping[Key, Run],
    products: Callable[[dict[Key, Tensor]], Mapping[Key, Tensor]],
    steps: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Key, Spectrum]:
    """Advance runs of any kinds together, one joint product a step, until all are done.

    Args:
        runs: The runs by any key.
        products: Takes the vectors of the runs still going, each (P,), and returns each matrix times its vector.
        steps: Most products of a run.
        progress: Called after every step with the steps done and the most there can be.

    Returns:
        The spectrum of each run by its key.
    """
    for step in range(steps):
        going = {key: run for key, run in runs.items() if not run.done}
        if not going:
            break
        for key, product in products({key: run.vector for key, run in going.items()}).items():
            going[key].advance(product)
        if progress:
            progress(step + 1, steps)
    return {key: run.spectrum() for key, run in runs.items()}


def lanczos(
    products: Callable[[dict[Key, Tensor]], Mapping[Key, Tensor]],
    starts: Mapping[Key, Tensor],
    steps: int,
    *,
    tolerance: float | None = None,
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
        tolerance: See `LanczosRun`.
        progress: Called after every step with the steps done and the most there can be.

    Returns:
        The spectrum of each run by its key.

    Raises:
        RuntimeError: If a product is not finite.

    >>> A = torch.diag(torch.tensor([3.0, 1.0, 1.0, -2.0], dtype=torch.float64))
    >>> lanczos(lambda vectors: {0: A @ vectors[0]}, {0: torch.ones(4).double()}, 4)[0].values.round(6).tolist()
    [-2.0, 1.0, 3.0]
    """
    runs = {key: LanczosRun(start, steps, tolerance) for key, start in starts.items()}
    return side_by_side(runs, products, steps, progress)
