"""The mean loss over a set of batches, and products with its second derivatives. Only this module runs models."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from longtail.errors import InputError
from longtail.hessian.batch_norm import ComposedBatchNorm
from longtail.hessian.convolution import LeanConvolution
from longtail.hessian.processes import gathered

Loss = Callable[[Tensor, Tensor], Tensor]
Result = TypeVar("Result")
Batches = Iterable[tuple[Tensor, Tensor]]

_DRIFT = 1e-3  # relative change of a batch's loss between passes; rounding on a GPU stays far below
_SAME = 1e-5  # relative difference of mean losses that is rounding
_FIXED = "give a fixed list of batches"


@dataclass(frozen=True)
class BatchLoss:
    """One batch's loss with its graph."""

    number: int  # among this process's batches, from 0
    share: float  # of all samples
    value: Tensor  # scalar, mean over the batch
    outputs: Tensor  # (n, ...)
    head_input: Tensor | None = None  # (n, ...), what the last layer reads; None if that is no part of the graph

    @property
    def cuts(self) -> list[Tensor]:
        """Tensors that the loss may be seen as a function of: the outputs, and what the last layer reads."""
        return [self.outputs] if self.head_input is None else [self.outputs, self.head_input]


@dataclass(frozen=True)
class Objective:
    """A model's mean loss over all samples, and the parameters it depends on.

    In a process group every process holds batches of its own, and the samples are those of all.
    """

    model: nn.Module
    loss: Loss
    batches: Batches
    parameters: dict[str, nn.Parameter]  # used and trainable
    sizes: tuple[int, ...]  # samples of each batch of this process
    losses: tuple[float, ...]  # of each batch of this process
    samples: int  # in the batches of all processes
    mean_loss: float  # over all samples

    def over_batches(self, function: Callable[[BatchLoss], Result]) -> list[Result]:
        """Call a function with the loss of each batch in turn; a batch's graph is gone before the next is built.

        Args:
            function: Takes the loss with its graph, and must not keep it.

        Returns:
            What the function returned for each batch.

        Raises:
            RuntimeError: If the batches are not those of the first pass.
        """
        results = [function(self._checked(number, batch)) for number, batch in enumerate(self.batches)]
        if len(results) != len(self.losses):
            raise RuntimeError(f"{len(results)} batches in this pass, {len(self.losses)} in the first: {_FIXED}")
        return results

    def _checked(self, number: int, batch: tuple[Tensor, Tensor]) -> BatchLoss:
        """Return one batch's loss after comparing it with that of the first pass."""
        with _input_of(_owner(self.model, list(self.parameters)[-1])) as head_inputs:
            value, outputs = _evaluate(self.model, self.loss, number + 1, batch)
        expected = self.losses[number] if number < len(self.losses) else math.nan
        if not math.isclose(value.item(), expected, rel_tol=_DRIFT, abs_tol=1e-9):
            raise RuntimeError(f"batch {number + 1} has loss {value.item():.6g}, was {expected:.6g}: {_FIXED}")
        return BatchLoss(number, len(outputs) / self.samples, value, outputs, _single(head_inputs))

    def first_samples(self, count: int) -> "Objective":
        """Return the same objective on the first few samples of the first batch."""
        inputs, targets = next(iter(self.batches))
        return measure(self.model, self.loss, [(inputs[:count], targets[:count])], self.parameters)

    def in_parts(self, count: int) -> "Objective":
        """Return the same objective with its batches cut into parts of at most `count` samples.

        A loss that is not the mean over the samples stays in whole batches.
        """
        if max(gathered(list(self.sizes))) <= count:
            return self
        parts = measure(self.model, self.loss, _Parts(self.batches, count), self.parameters)
        return parts if math.isclose(parts.mean_loss, self.mean_loss, rel_tol=_SAME) else self


def measure(model: nn.Module, loss: Loss, batches: Batches, parameters: Mapping[str, nn.Parameter]) -> Objective:
    """Pass over the data once: count it, check the loss, and find which parameters it depends on.

    Args:
        model: The model.
        loss: Takes outputs and targets, returns the mean over the samples.
        batches: Pairs of inputs and targets, the same in every iteration.
        parameters: Candidates by name.

    Returns:
        The objective.

    Raises:
        InputError: If there is no batch, a batch is not a pair of tensors or is empty, the loss is not a scalar,
            or it depends on none of the parameters.
        RuntimeError: If the loss is not finite.
    """
    if iter(batches) is batches:
        raise InputError("batches can be read only once: give a list, because every product reads them again")
    sizes: list[int] = []
    losses: list[float] = []
    used: set[str] = set()
    for number, batch in enumerate(batches, 1):
        value, outputs = _evaluate(model, loss, number, batch)
        if not math.isfinite(value.item()):
            raise RuntimeError(f"batch {number} has loss {value.item()}: check the weights and the inputs")
        used.update(_gradients(value, parameters, create_graph=False))
        sizes.append(len(outputs))
        losses.append(value.item())
    if not sizes:
        raise InputError("batches is empty: give at least one pair of inputs and targets")
    used = set(gathered(sorted(used)))
    if not used:
        raise InputError("the loss depends on no trainable parameter: check that the model is the one it is taken of")
    everywhere = gathered(list(zip(sizes, losses, strict=True)))
    samples = sum(size for size, _ in everywhere)
    return Objective(
        model,
        loss,
        batches,
        {name: parameter for name, parameter in parameters.items() if name in used},
        tuple(sizes),
        tuple(losses),
        samples,
        sum(size * value for size, value in everywhere) / samples,
    )


@dataclass(frozen=True)
class _Parts:
    """Batches cut into smaller ones each time they are read."""

    batches: Batches
    count: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.batches:
            yield from zip(inputs.split(self.count), targets.split(self.count), strict=True)


class BatchCurvature:
    """Products with the diagonal blocks of a scalar's second derivative, over one graph of its gradient.

    The graph of the forward pass and of the first gradient is made once. A product differentiates a block's
    gradient in that block's own parameters only, so a layer's product passes only the layers above it.
    """

    def __init__(self, scalar: Tensor, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self._gradients = _gradients(scalar, parameters, create_graph=True)

    def gradient(self, name: str) -> Tensor:
        """Return the gradient in a parameter, zero if the scalar does not depend on it."""
        return self._gradients.get(name, torch.zeros_like(self._parameters[name]))

    def product(self, names: Sequence[str], vector: Tensor) -> Tensor:
        """Multiply one diagonal block with a vector.

        Args:
            names: The block's parameters.
            vector: All entries of the block, (P,), in the order of the names.

        Returns:
            The product, (P,).
        """
        parameters = [self._parameters[name] for name in names]
        pieces = torch.split(vector, [parameter.numel() for parameter in parameters])
        curved = [
            (self._gradients[name], piece.view_as(parameter))
            for name, piece, parameter in zip(names, pieces, parameters, strict=True)
            if self.gradient(name).requires_grad  # else the scalar is linear in the parameter
        ]
        if not curved:
            return torch.zeros_like(vector)
        gradients, cotangents = zip(*curved, strict=True)
        products = torch.autograd.grad(gradients, parameters, cotangents, retain_graph=True, allow_unused=True)
        return torch.cat([
            torch.zeros_like(piece) if product is None else product.reshape(-1)
            for product, piece in zip(products, pieces, strict=True)
        ])


def residual(batch: BatchLoss, cut: int = 0) -> Tensor:
    """Return a scalar whose second derivative is the Hessian less the Gauss-Newton matrix.

    It is the product of the outputs with the loss's gradient in them, that gradient held constant.

    Args:
        batch: The batch's loss.
        cut: Which of `batch.cuts` to take for the outputs.

    Returns:
        The scalar.
    """
    values = batch.cuts[cut]
    (gradient,) = torch.autograd.grad(batch.value, values, retain_graph=True)
    return (values * gradient).sum()


def _owner(model: nn.Module, name: str) -> nn.Module:
    """Return the module that a parameter belongs to."""
    return model.get_submodule(name.rpartition(".")[0])


@contextmanager
def _input_of(module: nn.Module) -> Generator[list[object]]:
    """Yield a list of the first arguments that a module is called with."""
    seen: list[object] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: seen.extend(arguments[:1]))
    try:
        yield seen
    finally:
        handle.remove()


def _single(inputs: list[object]) -> Tensor | None:
    """Return the tensor that a layer read, if it read one once and that has a gradient."""
    (tensor,) = inputs if len(inputs) == 1 else (None,)
    return tensor if isinstance(tensor, Tensor) and tensor.requires_grad else None


def _gradients(scalar: Tensor, parameters: Mapping[str, nn.Parameter], *, create_graph: bool) -> dict[str, Tensor]:
    """Return the gradient in each parameter that the scalar depends on."""
    if not scalar.requires_grad or not parameters:
        return {}
    found = torch.autograd.grad(scalar, list(parameters.values()), create_graph=create_graph, allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}


def _evaluate(model: nn.Module, loss: Loss, number: int, batch: object) -> tuple[Tensor, Tensor]:
    """Return mean loss and outputs of one batch, on the model's device."""
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(x, Tensor) for x in batch)):
        raise InputError(f"batch {number} is a {type(batch).__name__}: give pairs of tensors, inputs and targets")
    device = next(model.parameters()).device
    inputs, targets = (tensor.to(device) for tensor in batch)
    if not len(inputs) or len(inputs) != len(targets):
        raise InputError(f"batch {number} has {len(inputs)} inputs and {len(targets)} targets: give one target each")
    with ComposedBatchNorm(), LeanConvolution():
        outputs = model(inputs)
    value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.dim():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the loss is {shape}, not a scalar tensor: return the mean over the batch")
    return value, outputs
