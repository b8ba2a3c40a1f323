"""Curvature of the loss in the network's outputs, as factors that a backward pass carries to every layer."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Root = Callable[[Tensor], Tensor]

_MOST_OUTPUTS = 512  # of a sample, for factors by eigenvectors: 100 samples' matrices take 210 MB in float64


def curvature_roots(
    value: Tensor, z: Tensor, live: Tensor, generator: torch.Generator
) -> list[tuple[int, Root]] | None:
    """Factor the second derivative S of a loss in a tensor z of its graph: S = sum of sign R R^T.

    With independent signs e and J the Jacobian of z, |J_l^T R e|^2 is an unbiased sample of the trace of
    J_l^T R R^T J_l, for every layer l at once. For softmax cross-entropy of the outputs R has the columns
    sqrt(p_c) (onehot_c - p) / sqrt(N), as in the code for arXiv 2012.03801. Any other loss that treats samples
    separately is factored by each sample's eigenvectors, the negative eigenvalues apart. A random product with S
    tells which case it is.

    Args:
        value: The loss, a scalar, the mean over the samples.
        z: The outputs, or a tensor before them, (N, ...).
        live: Which entries of z depend on any parameter, (N, ...) bool. S is restricted to them: what it says of the
            others would only add noise, and where a normalised vector is zero it is not finite.
        generator: Source of the random product, on the CPU.

    Returns:
        Signs, each with a function from e, shaped like `z`, to R e of the same shape; nothing if the loss couples
        samples, or z has so many numbers a sample that the factors would not fit.
    """
    multiply = _second_derivative(value, z, live)
    probe = torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z)
    product = multiply(probe)
    if z.dim() == 2:
        probabilities = z.detach().softmax(1)
        means = (probabilities * probe).sum(1, keepdim=True)
        if _close(product, probabilities * (probe - means) / len(z)):
            return [(1, lambda signs: _softmax_root(probabilities, signs))]
    return _eigenvector_roots(multiply, probe, product)


def _second_derivative(value: Tensor, z: Tensor, live: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the product with the loss's second derivative in the live entries of z."""
    (gradient,) = torch.autograd.grad(value, z, create_graph=True)
    nothing = torch.zeros_like(z, requires_grad=False)

    def multiply(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:  # a loss that is linear in z
            return nothing
        found: Tensor | None = torch.autograd.grad(gradient, z, vector * live, retain_graph=True, allow_unused=True)[0]
        return nothing if found is None else torch.where(live, found, nothing)

    return multiply


def _softmax_root(probabilities: Tensor, signs: Tensor) -> Tensor:
    """Return sum_c e_c sqrt(p_c) (onehot_c - p) / sqrt(N) for each sample."""
    scaled = signs * probabilities.sqrt()
    return (scaled - probabilities * scaled.sum(1, keepdim=True)) / math.sqrt(len(signs))


def _eigenvector_roots(
    multiply: Callable[[Tensor], Tensor], probe: Tensor, product: Tensor
) -> list[tuple[int, Root]] | None:
    """Return factors of each sample's matrix, found column by column, if the random product shows them separate."""
    count, size = len(probe), probe[0].numel()
    if size > _MOST_OUTPUTS:
        return None
    units = torch.eye(size, dtype=probe.dtype, device=probe.device)
    columns = [multiply(unit.expand(count, size).reshape(probe.shape)).reshape(count, size) for unit in units]
    matrices = torch.stack(columns, 2)  # (N, D, D)
    if not _close(product.reshape(count, size), torch.einsum("ncd,nd->nc", matrices, probe.reshape(count, size))):
        return None
    values, vectors = torch.linalg.eigh(matrices.double())
    rounding = torch.finfo(probe.dtype).eps * values.abs().max()
    return [
        (sign, _linear((vectors * (sign * values).clamp(min=0).sqrt()[:, None, :]).to(probe)))
        for sign in (1, -1)
        if sign == 1 or (sign * values).max() > rounding
    ]


def _linear(factors: Tensor) -> Root:
    """Return the product of each sample's factor, (N, D, D), with its signs."""
    return lambda signs: torch.einsum("ncd,nd->nc", factors, signs.reshape(factors.shape[:2])).reshape(signs.shape)


def _close(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors agree but for rounding."""
    tolerance = torch.finfo(found.dtype).eps ** 0.5
    difference = torch.linalg.vector_norm(found - expected)
    return bool(difference <= tolerance * torch.linalg.vector_norm(expected))
