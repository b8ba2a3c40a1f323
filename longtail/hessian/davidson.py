"""The top eigenvalue of a matrix of which a sketch is known: Davidson's method, which needs few products.

A product with a layer's curvature costs far more than anything done here to vectors, so each is made to tell as much as
it can: the subspace starts from the sketch's leading vectors and is widened by the residual of the best vector in it,
divided by what the sketch holds for the matrix (Davidson 1975, J. Comput. Phys. 17, 87). Without a sketch it is widened
by the residual alone, which spans what Lanczos spans.
"""

import numpy as np
import torch
from torch import Tensor

from longtail.hessian.lanczos import Spectrum
from longtail.hessian.sketch import Sketch

_NEAR = 0.7  # of the top eigenvalue of a sketch: from here on it may take the second vector for the first
_LEAST_PRODUCTS = 3  # earlier the next eigenvalue is hardly known
_DOUBT = 2  # for the same reason the error may be so much larger than it looks
_ABOVE = 1.2  # by so much the top eigenvalue is taken for larger than it is, so that nothing is divided by zero
_LEAST_DIVISOR = 0.25  # the sketch is only an estimate: its directions are strengthened fourfold at most


class DavidsonRun:
    """The search for one symmetric matrix's top eigenvalue.

    With residual r and a distance g to the next eigenvalue the error is at most r and r^2 / g (Parlett, The Symmetric
    Eigenvalue Problem, section 11.7); g is taken to the next Ritz value plus its residual, as the best that is known.

    Args:
        sketch: Of the matrix; None starts from `random`.
        random: A random vector, (P,).
        steps: Most products; memory is two vectors for each that was made.
        accuracy: Relative error of the top eigenvalue at which the run may end.
    """

    def __init__(self, sketch: Sketch | None, random: Tensor, steps: int, accuracy: float) -> None:
        self._sketch, self._steps, self._accuracy = sketch, min(steps, random.numel()), accuracy
        starts = [random] if sketch is None else sketch.leading(2 if sketch.ratio > _NEAR else 1)
        self._waiting: list[Tensor] = [start / torch.linalg.vector_norm(start) for start in starts][: self._steps]
        self._basis: list[Tensor] = []  # orthonormal
        self._products: list[Tensor] = []
        self._found: Spectrum | None = None
        self.done = False

    @property
    def vector(self) -> Tensor:
        """The vector to multiply next, (P,)."""
        return self._waiting[0]

    def advance(self, product: Tensor) -> None:
        """Take the product with the vector, and find the next one.

        Args:
            product: The product, (P,).

        Raises:
            RuntimeError: If it is not finite.
        """
        if not product.isfinite().all():
            raise RuntimeError(f"product {len(self._products) + 1} is not finite: look for overflow in the model")
        self._basis.append(self._waiting.pop(0))
        self._products.append(product)
        if self._waiting:
            return
        self._found, residual = self._ritz()
        self.done = len(self._basis) == self._steps or self._is_accurate(self._found)
        if not self.done:
            self._widen(float(self._found.values[-1]), residual)

    def spectrum(self) -> Spectrum:
        """Return the Ritz values with their residuals; weights are those of the first basis vector."""
        return self._found or self._ritz()[0]

    def _ritz(self) -> tuple[Spectrum, Tensor]:
        """Return the Ritz values, and the residual vector of the top one."""
        basis, products = torch.stack(self._basis), torch.stack(self._products)
        projected = (basis @ products.T).double()
        values, vectors = torch.linalg.eigh((projected + projected.T) / 2)
        combinations = vectors.T.to(basis)
        residuals = combinations @ products - values.to(basis)[:, None] * (combinations @ basis)
        norms = torch.linalg.vector_norm(residuals, dim=1).double()
        spectrum = Spectrum(values.cpu().numpy(), np.square(vectors[0].cpu().numpy()), norms.cpu().numpy())
        return spectrum, residuals[-1]

    def _is_accurate(self, found: Spectrum) -> bool:
        if len(found.values) < _LEAST_PRODUCTS:
            return False
        top, residual = found.values[-1], found.residuals[-1]
        gap = top - found.values[-2] - found.residuals[-2]
        error = residual**2 / gap if gap > residual else residual
        return bool(_DOUBT * error <= self._accuracy * abs(top))

    def _widen(self, top: float, residual: Tensor) -> None:
        """Set the next vector, orthogonal to the basis; the run is done if the residual is but rounding."""
        vector = residual
        if self._sketch is not None and top > 0:
            vector = self._sketch.scaled(
                residual, lambda values: 1 / (1 - values / (_ABOVE * top)).clamp(min=_LEAST_DIVISOR)
            )
        scale, basis = torch.linalg.vector_norm(vector), torch.stack(self._basis)
        for _ in range(2):
            vector = vector - basis.T @ (basis @ vector)
        norm = torch.linalg.vector_norm(vector)
        rounding = torch.finfo(vector.dtype).eps ** 0.75
        largest = max(float(torch.linalg.vector_norm(product)) for product in self._products)
        self.done = bool(norm <= rounding * max(float(scale), largest))
        self._waiting = [vector / norm]
