"""Factors of the loss's curvature in the outputs that can be differentiated themselves."""

from collections.abc import Callable

import torch
from torch import Tensor

from longtail.errors import InputError

_SATURATED = 1e-5  # relative size of a product with a softmax's S, of which float32 leaves two digits


def differentiable_root(loss: Tensor, outputs: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return e -> R e in the outputs' graph, with R R^T = S, the second derivative of the loss in the outputs.

    For softmax cross-entropy R has the columns sqrt(w_n p_c) (onehot_c - p), as in the code for arXiv 2012.03801, with
    the sample's weight w_n, 1/N for a plain mean. The probabilities p stay in the graph: held constant they would bias
    the gradient of |J^T R e|². Random products tell which loss it is; its targets, margins and priors do not matter.

    Args:
        loss: The mean loss, a scalar.
        outputs: What it is a function of, (N, ...); for a softmax what the softmax is taken of, so with its priors.
        generator: Source of the random products, on the CPU.

    Returns:
        A function from e, shaped like `outputs`, to R e of the same shape.

    Raises:
        InputError: If the loss is neither a softmax cross-entropy nor a sum of convex functions of single outputs.
    """
    (gradient,) = torch.autograd.grad(loss, outputs, create_graph=True)
    if not gradient.requires_grad:  # linear in the outputs
        return torch.zeros_like
    first, second = (torch.randn(outputs.shape, generator=generator).to(outputs) for _ in range(2))
    product = _derivative(gradient, outputs, first)
    weights = _softmax_weights(outputs, product.detach(), first) if outputs.dim() == 2 else None
    if weights is not None:
        same = _softmax_product(outputs, weights, first)
        # The third derivatives agree as well if the weights do not depend on the outputs.
        cancelled = weights[:, None] * first * second
        if _close(_derivative(product, outputs, second), _derivative(same, outputs, second), cancelled):
            return lambda signs: _softmax_root(outputs, weights, signs)
    diagonal = _derivative(gradient, outputs, torch.ones_like(outputs))
    if not _close(product.detach(), diagonal.detach() * first) or bool((diagonal < 0).any()):
        raise InputError(
            "the loss is neither a softmax cross-entropy of these outputs nor a sum of convex functions of single "
            "outputs: choose form='hutchinson', or give as outputs what the softmax is taken of"
        )
    flat = diagonal == 0  # the root has no derivative at zero
    return lambda signs: signs * torch.where(flat, 0, torch.where(flat, 1, diagonal).sqrt())


def _derivative(values: Tensor, outputs: Tensor, vector: Tensor) -> Tensor:
    """Return the derivative of values in the outputs, pulled back from a vector, in a graph."""
    if not values.requires_grad:
        return torch.zeros_like(outputs)
    (found,) = torch.autograd.grad(values, outputs, vector, create_graph=True, allow_unused=True)
    return torch.zeros_like(outputs) if found is None else found


def _softmax_weights(outputs: Tensor, product: Tensor, vector: Tensor) -> Tensor | None:
    """Return the samples' weights, (N,), with which a product with S is that of a softmax, or nothing.

    A sample whose softmax is saturated shows its weight no longer; it gets the median of the others.
    """
    exact, vector = product.double(), vector.double()
    unit = _softmax_product(outputs.detach().double(), torch.ones_like(exact[:, 0]), vector)
    sizes, lengths = (torch.linalg.vector_norm(part, dim=1) for part in (unit, vector))
    clear = sizes > _SATURATED * lengths
    ratios = (exact * unit).sum(1) / sizes.clamp(min=torch.finfo(torch.float64).tiny).square()
    usual = ratios[clear].median() if bool(clear.any()) else ratios.new_tensor(1 / len(outputs))
    weights = torch.where(clear, ratios, usual)
    expected = weights[:, None] * unit
    if bool((weights < 0).any()) or not _close(product, expected.to(product), weights * lengths):
        return None
    return weights.to(product)


def _softmax_product(outputs: Tensor, weights: Tensor, vector: Tensor) -> Tensor:
    """Return w (diag(p) - p p^T) v of each sample."""
    probabilities = outputs.softmax(1)
    means = (probabilities * vector).sum(1, keepdim=True)
    return weights[:, None] * probabilities * (vector - means)


def _softmax_root(outputs: Tensor, weights: Tensor, signs: Tensor) -> Tensor:
    """Return sum_c e_c sqrt(w p_c) (onehot_c - p) of each sample."""
    logarithms = outputs.log_softmax(1)  # a square root of p itself has an infinite derivative where p underflows
    scaled = signs * (logarithms / 2).exp() * weights.sqrt()[:, None]
    return scaled - logarithms.exp() * scaled.sum(1, keepdim=True)


def _close(found: Tensor, expected: Tensor, cancelled: Tensor | float = 0.0) -> bool:
    """Return whether two tensors agree but for rounding, also of what cancelled in them."""
    epsilon = torch.finfo(found.dtype).eps
    rounding = 16 * epsilon * float(torch.linalg.vector_norm(torch.as_tensor(cancelled)))
    difference = torch.linalg.vector_norm((found - expected).detach())
    return bool(difference <= epsilon**0.5 * torch.linalg.vector_norm(expected.detach()) + rounding)
