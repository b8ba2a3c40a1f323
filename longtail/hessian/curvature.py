"""The three curvatures of a batch's loss, each as a way to multiply diagonal blocks with vectors.

With outputs f, their Jacobian J in the parameters and S the loss's second derivative in the outputs, the Hessian is
J^T S J, the Gauss-Newton matrix, plus the residual Σ_c (∂loss/∂f_c) ∇² f_c.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from longtail.hessian.operators import BatchCurvature, BatchLoss, Objective, residual
from longtail.hessian.outputs import second_derivative
from longtail.hessian.processes import total

Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)


class Curvature(Protocol):
    """A symmetric matrix over a batch's parameters, of which diagonal blocks can be multiplied."""

    def product(self, names: Sequence[str], vector: Tensor) -> Tensor:
        """Return one block's product with a vector, (P,)."""


class BatchGaussNewton:
    """Products with the diagonal blocks of J^T S J, over one graph.

    J^T u is made once, as a function of u; it is linear, so its derivative in u carries a block's vector v to J v.
    """

    def __init__(self, batch: BatchLoss, parameters: Mapping[str, nn.Parameter]) -> None:
        self._outputs, self._parameters = batch.outputs, parameters
        self._cotangent = torch.zeros_like(batch.outputs, requires_grad=True)
        self._multiply = second_derivative(batch.value, batch.outputs)
        pulled = torch.autograd.grad(
            batch.outputs, list(parameters.values()), self._cotangent, create_graph=True, allow_unused=True
        )
        self._pulled = {name: tensor for name, tensor in zip(parameters, pulled, strict=True) if tensor is not None}

    def product(self, names: Sequence[str], vector: Tensor) -> Tensor:
        """Return one diagonal block's product with a vector, (P,) in the order of the names."""
        parameters = [self._parameters[name] for name in names]
        pieces = torch.split(vector, [parameter.numel() for parameter in parameters])
        moving = [
            (self._pulled[name], piece.view_as(parameter))
            for name, piece, parameter in zip(names, pieces, parameters, strict=True)
            if name in self._pulled
        ]
        if not moving:
            return torch.zeros_like(vector)
        pulled, tangents = zip(*moving, strict=True)
        (pushed,) = torch.autograd.grad(pulled, self._cotangent, tangents, retain_graph=True)
        curved = self._multiply(pushed)
        found = torch.autograd.grad(self._outputs, parameters, curved, retain_graph=True, allow_unused=True)
        return torch.cat([
            torch.zeros_like(piece) if product is None else product.reshape(-1)
            for product, piece in zip(found, pieces, strict=True)
        ])


CURVATURES: dict[str, Callable[[BatchLoss, Mapping[str, nn.Parameter]], Curvature]] = {
    "hessian": lambda batch, parameters: BatchCurvature(batch.value, parameters),
    "ggn": BatchGaussNewton,
    "residual": lambda batch, parameters: BatchCurvature(residual(batch), parameters),
}


class BlockOperator:
    """Diagonal blocks of an objective's curvature, each a list of parameter names; products need no storage.

    With one batch its graph is kept between products; with several each is rebuilt in turn, one in memory at a time.
    """

    def __init__(self, objective: Objective, blocks: Mapping[str, Sequence[str]], curvature: str) -> None:
        self.objective = objective
        self.blocks = blocks
        self.curvature = curvature
        self._kept: tuple[float, Curvature] | None = None

    def like(self, block: str) -> Tensor:
        """Return a vector of the block's length, dtype and device."""
        return torch.cat([self.objective.parameters[name].detach().reshape(-1) for name in self.blocks[block]])

    def over_batches(self, function: Callable[[int, float, Callable[[], Curvature]], Result]) -> list[Result]:
        """Call a function for each batch in turn.

        Args:
            function: Takes the batch's number, its share of the samples, and what makes its curvature.

        Returns:
            What the function returned for each batch.
        """
        if self._kept is not None:
            share, curvature = self._kept
            return [function(0, share, lambda: curvature)]
        return self.objective.over_batches(
            lambda batch: function(batch.number, batch.share, lambda: self._curvature(batch))
        )

    def _curvature(self, batch: BatchLoss) -> Curvature:
        curvature = CURVATURES[self.curvature](batch, self.objective.parameters)
        if len(self.objective.sizes) == 1:
            self._kept = (batch.share, curvature)
        return curvature

    def products(self, vectors: Mapping[Key, Tensor], block_of: Callable[[Key], str]) -> dict[Key, Tensor]:
        """Multiply blocks of the mean loss's curvature, one graph a batch for all of them.

        Args:
            vectors: Vectors by any key, (P,) of the key's block; the same in every process.
            block_of: Names the block of a key.

        Returns:
            The products by the same keys, of all processes' samples.
        """
        totals = {key: torch.zeros_like(vector) for key, vector in vectors.items()}

        def add(_number: int, share: float, make: Callable[[], Curvature]) -> None:
            curvature = make()
            for key, vector in vectors.items():
                totals[key] += share * curvature.product(self.blocks[block_of(key)], vector)

        self.over_batches(add)
        return {key: total(product) for key, product in totals.items()}

    def numbered(
        self, vectors: Mapping[Key, Tensor], keys: Sequence[Key], block_of: Callable[[Key], str]
    ) -> dict[str, Tensor]:
        """Return `products` under the places of their keys among all keys, as names that a file can have."""
        products = self.products(vectors, block_of)
        return {str(keys.index(key)): product for key, product in products.items()}
