"""Curvature of the loss in the network's outputs, as factors that backward passes carry to every layer."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Root = Callable[[Tensor], Tensor]

_MOST_OUTPUTS = 512  # of a sample, for a factor by eigenvectors: 100 samples' matrices take 210 MB in float64


@dataclass(frozen=True)
class SignedRoot:
    """Factors of a symmetric matrix S = R R^T - Q Q^T."""

    positive: Root
    negative: Root | None  # None if S has no negative eigenvalue


def curvature_root(value: Tensor, outputs: Tensor, generator: torch.Generator) -> SignedRoot | None:
    """Return factors of S, the second derivative of the loss in the outputs, or nothing if they are out of reach.

    With independent signs e and J the outputs' Jacobian, |J_l^T R e|^2 - |J_l^T Q e|^2 is an unbiased sample of the
    trace of J_l^T S J_l, for every layer l at once. For softmax cross-entropy R has the columns
    sqrt(p_c) (onehot_c - p) / sqrt(N), as in the code for arXiv 2012.03801, and Q is nothing. Any other loss that
    treats samples separately is factored by eigenvectors. A random product with S tells which case it is.

    Args:
        value: The loss, a scalar, the mean over the samples.
        outputs: The outputs in its graph, (N, ...), or any other tensor that the loss is a function of.
        generator: Source of the random product, on the CPU.

    Returns:
        The factors, functions from e, shaped like `outputs`, to R e and Q e of the same shape; nothing if the loss
        couples samples, or has so many outputs that the factors would not fit.
    """
    multiply = second_derivative(value, outputs)
    probe = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)
    product = multiply(probe)
    if outputs.dim() == 2:
        probabilities = outputs.detach().softmax(1)
        means = (probabilities * probe).sum(1, keepdim=True)
        if _close(product, probabilities * (probe - means) / len(outputs)):
            return SignedRoot(lambda signs: _softmax_root(probabilities, signs), None)
    return _eigenvector_root(multiply, probe, product)


def second_derivative(value: Tensor, outputs: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the product with the loss's second derivative in the outputs."""
    (gradient,) = torch.autograd.grad(value, outputs, create_graph=True)

    def multiply(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:  # a loss that is linear in the outputs
            return torch.zeros_like(vector)
        found: Tensor | None = torch.autograd.grad(gradient, outputs, vector, retain_graph=True, allow_unused=True)[0]
        return torch.zeros_like(vector) if found is None else found

    return multiply


def _softmax_root(probabilities: Tensor, signs: Tensor) -> Tensor:
    """Return sum_c e_c sqrt(p_c) (onehot_c - p) / sqrt(N) for each sample."""
    scaled = signs * probabilities.sqrt()
    return (scaled - probabilities * scaled.sum(1, keepdim=True)) / math.sqrt(len(signs))


def _eigenvector_root(multiply: Callable[[Tensor], Tensor], probe: Tensor, product: Tensor) -> SignedRoot | None:
    """Return the factors of each sample's matrix, found column by column, if the random product shows them separate."""
    count, size = len(probe), probe[0].numel()
    if size > _MOST_OUTPUTS:
        return None
    units = torch.eye(size, dtype=probe.dtype, device=probe.device)
    columns = [multiply(unit.expand(count, size).reshape(probe.shape)).reshape(count, size) for unit in units]
    matrices = torch.stack(columns, 2)  # (N, C, C)
    if not _close(product.reshape(count, size), torch.einsum("ncd,nd->nc", matrices, probe.reshape(count, size))):
        return None
    values, vectors = torch.linalg.eigh(matrices.double())
    rounding = math.sqrt(torch.finfo(probe.dtype).eps) * values.abs().max()

    def root(sizes: Tensor) -> Root:
        factors = (vectors * sizes.clamp(min=0).sqrt()[:, None, :]).to(probe)
        return lambda signs: torch.einsum("ncd,nd->nc", factors, signs.reshape(count, size)).reshape(signs.shape)

    return SignedRoot(root(values), root(-values) if values.min() < -rounding else None)


def _close(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors agree but for rounding."""
    tolerance = torch.finfo(found.dtype).eps ** 0.5
    difference = torch.linalg.vector_norm(found - expected)
    return bool(difference <= tolerance * torch.linalg.vector_norm(expected))
