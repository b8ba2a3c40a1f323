"""Curvature of the loss in the network's outputs, as a factor that one backward pass carries to every layer."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Root = Callable[[Tensor], Tensor]

_MOST_OUTPUTS = 512  # of a sample, for a factor by eigenvectors: 100 samples' matrices take 210 MB in float64


def curvature_root(loss: Loss, outputs: Tensor, targets: Tensor, generator: torch.Generator) -> Root | None:
    """Return e -> S^(1/2) e with S the second derivative of the loss in the outputs, or nothing if it has no such form.

    With independent signs e, u = S^(1/2) e and J the network's Jacobian, |J_l^T u|^2 is an unbiased sample of the
    trace of the Gauss-Newton block J_l^T S J_l for every layer l at once. For softmax cross-entropy
    S^(1/2) has the columns sqrt(p_c) (onehot_c - p) / sqrt(N), as in the authors' code for arXiv 2012.03801. Any
    other loss that is a sum over samples and convex in the outputs is factored by eigenvectors. Which case it is
    is found by a random product with S.

    Args:
        loss: Takes outputs and targets, returns the mean over the samples.
        outputs: The network's outputs, (N, ...).
        targets: Their targets.
        generator: Source of the random product, on the CPU.

    Returns:
        A function from e, shaped like `outputs`, to u of the same shape; nothing if the loss couples samples, is
        not convex in the outputs, or has so many outputs that the factors would not fit.
    """
    multiply = _second_derivative(loss, outputs, targets)
    probe = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)
    product = multiply(probe)
    if outputs.dim() == 2:
        probabilities = outputs.softmax(1)
        means = (probabilities * probe).sum(1, keepdim=True)
        if _close(product, probabilities * (probe - means) / len(outputs)):
            return lambda signs: _softmax_root(probabilities, signs)
    return _eigenvector_root(multiply, probe, product)


def _second_derivative(loss: Loss, outputs: Tensor, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the product with the loss's second derivative in the outputs."""
    leaf = outputs.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, targets), leaf, create_graph=True)
    if not gradient.requires_grad:  # a loss that is linear in the outputs
        return lambda vector: torch.zeros_like(vector)

    def multiply(vector: Tensor) -> Tensor:
        products: tuple[Tensor, ...] = torch.autograd.grad(gradient, leaf, vector, retain_graph=True)
        return products[0]

    return multiply


def _softmax_root(probabilities: Tensor, signs: Tensor) -> Tensor:
    """Return sum_c e_c sqrt(p_c) (onehot_c - p) / sqrt(N) for each sample."""
    scaled = signs * probabilities.sqrt()
    return (scaled - probabilities * scaled.sum(1, keepdim=True)) / len(signs) ** 0.5


def _eigenvector_root(multiply: Callable[[Tensor], Tensor], probe: Tensor, product: Tensor) -> Root | None:
    """Return the factor of each sample's matrix, found column by column, if the random product shows them separate."""
    count, size = len(probe), probe[0].numel()
    if size > _MOST_OUTPUTS:
        return None
    columns = [
        multiply(torch.nn.functional.one_hot(torch.tensor(c), size).to(probe).expand(count, size).reshape(probe.shape))
        for c in range(size)
    ]
    matrices = torch.stack([column.reshape(count, size) for column in columns], 2)  # (N, C, C)
    if not _close(product, torch.einsum("ncd,nd->nc", matrices, probe.reshape(count, size)).reshape(probe.shape)):
        return None
    values, vectors = torch.linalg.eigh(matrices.double())
    if values.min() < -(torch.finfo(probe.dtype).eps ** 0.5) * values.abs().max():
        return None
    factors = (vectors * values.clamp(min=0).sqrt()[:, None, :]).to(probe)
    return lambda signs: torch.einsum("ncd,nd->nc", factors, signs.reshape(count, size)).reshape(signs.shape)


def _close(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors agree but for rounding."""
    tolerance = torch.finfo(found.dtype).eps ** 0.5
    difference = torch.linalg.vector_norm(found - expected)
    return bool(difference <= tolerance * torch.linalg.vector_norm(expected))
