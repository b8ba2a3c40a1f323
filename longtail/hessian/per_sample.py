"""Gradients of single samples. Besides `operators`, only this module runs models."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from longtail.errors import InputError
from longtail.hessian.operators import Objective

_SAME = 1e-3  # share of the largest output: rounding between a batch and a sample of it stays far below


def output_count(objective: Objective) -> int:
    """Return how many outputs the model has for a sample."""
    inputs, _ = next(iter(objective.batches))
    with torch.no_grad():
        return int(objective.model(inputs[:1].to(_device(objective))).numel())


def pull_back(
    objective: Objective, inputs: Tensor, outputs: Tensor, cotangents: Tensor, names: Sequence[str]
) -> Iterator[list[Tensor]]:
    """Multiply each sample's transposed Jacobian with vectors of its own, one sample's graph in memory at a time.

    All vectors of a sample go back in one batched pass; on a CPU that is faster than `vmap` over samples, which turns
    convolutions into grouped ones.

    Args:
        objective: The objective whose model is run.
        inputs: A batch's inputs, (n, ...).
        outputs: The model's outputs for that batch, (n, ...).
        cotangents: Vectors for the outputs, (n, k, ...).
        names: Parameters to differentiate in.

    Yields:
        For each sample J_i^T u of its k vectors, (k, parameter's size), for each name.

    Raises:
        InputError: If a sample's outputs are not those in its batch.
    """
    wanted = [objective.parameters[name] for name in names]
    tolerance = _SAME * float(outputs.detach().abs().max())
    for sample, expected, vectors in zip(inputs.split(1), outputs.detach().split(1), cotangents, strict=True):
        found = objective.model(sample.to(_device(objective)))
        if not torch.allclose(found.detach(), expected, rtol=0, atol=tolerance):
            raise InputError("a sample's outputs change with its batch: give a model that treats samples separately")
        yield [
            torch.zeros(len(vectors), parameter.numel()).to(found)
            if gradient is None
            else gradient.reshape(len(vectors), -1)
            for gradient, parameter in zip(_gradients(found, wanted, vectors), wanted, strict=True)
        ]


def _gradients(outputs: Tensor, wanted: list[torch.nn.Parameter], vectors: Tensor) -> Sequence[Tensor | None]:
    """Return the gradients of one sample's outputs (1, ...) weighted with each vector (k, ...)."""
    return torch.autograd.grad(outputs, wanted, vectors[:, None], is_grads_batched=True, allow_unused=True)


def _device(objective: Objective) -> torch.device:
    return next(objective.model.parameters()).device
