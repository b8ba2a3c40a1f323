"""Hessian-trace regularisation (HTR): a differentiable estimate of the trace of the loss's curvature.

After Sankar et al. 2021 (arXiv 2012.03801): training minimises L + γ Σ_l tr(∇²L)_ll over chosen parameters l. Unlike
the authors' code, probes live on the chosen parameters alone, so that layers below them cost nothing; and where a
parameter's block is its Gauss-Newton block, first derivatives replace second ones. Estimate and loss share the forward
pass and one backward pass:

    outputs = model(inputs)
    loss = F.cross_entropy(outputs, targets)
    (loss + weight * penalty(outputs, loss, generator)).backward()

A forward pass with batch normalisation belongs into `longtail.hessian.batch_norm.ComposedBatchNorm`, because PyTorch's
own has no third derivative.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from longtail.errors import InputError
from longtail.hessian.layers import LayerSelection, select, trainable
from longtail.hessian.operators import BatchCurvature
from longtail.hessian.root import differentiable_root

FORMS = ("auto", "first_order", "hutchinson")
LAWS = ("rademacher", "gaussian")

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}  # relative size of a product that is rounding


class TracePenalty:
    """An unbiased estimate of Σ_l tr(∇²L)_ll of a minibatch's mean loss L, whose gradient is unbiased too.

    Args:
        model: Any module, in the mode in which its outputs are made. With batch statistics the curvature is that of a
            network that couples its samples.
        layers: `all` parameters; `middle`, of n tensors in order of registration those from ⌊n/4⌋ to ⌊3n/4⌋, as the
            authors' code does; or what `longtail.hessian.layers.select` takes.
        form: `hutchinson` is the Hessian's trace, by second derivatives; `first_order` the Gauss-Newton matrix's, which
            is never negative, by first ones; `auto` takes `first_order` at the first call if no random product with a
            chosen parameter's block shows a difference between the two, else `hutchinson`.
        probes: Random probes that are averaged; each takes as much time as the first.
        law: Of the probes' entries: `rademacher`, of least variance, or `gaussian`.

    Attributes:
        form: The form, no longer `auto` after the first call.
        parameters: The chosen parameters by name.

    Raises:
        InputError: If a setting or the selection is unusable.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: LayerSelection = "all",
        form: str = "auto",
        probes: int = 1,
        law: str = "rademacher",
    ) -> None:
        for name, value, allowed in (("form", form, FORMS), ("law", law, LAWS)):
            if value not in allowed:
                raise InputError(f"{name} is {value!r}: choose from {', '.join(allowed)}")
        if probes < 1:
            raise InputError(f"probes is {probes}: give 1 or more")
        self.parameters = chosen(model, layers)
        self.form, self.probes, self.law = form, probes, law

    def __call__(self, outputs: Tensor, loss: Tensor, generator: torch.Generator) -> Tensor:
        """Return the estimate, a scalar in the graph of the outputs, which is kept; not finite if the loss is not.

        Args:
            outputs: What the loss is a function of, (N, ...); the gradient of `loss` in it must exist.
            loss: The mean loss, a scalar. For `first_order` it must be a softmax cross-entropy of these outputs, also
                with weights of samples and soft targets, or a sum over single outputs that is convex in each.
            generator: Source of the probes, on the CPU.

        Raises:
            InputError: If the loss does not depend on the chosen parameters, or has no first-order form.
        """
        if not bool(torch.isfinite(loss)):
            return loss
        parameters = list(self.parameters.values())
        if self.form == "auto":
            exact = gauss_newton_blocks(outputs, loss, self.parameters, generator)
            self.form = "first_order" if exact else "hutchinson"
        return torch.stack(self._samples(outputs, loss, parameters, generator)).mean()

    def _samples(
        self, outputs: Tensor, loss: Tensor, parameters: Sequence[Tensor], generator: torch.Generator
    ) -> list[Tensor]:
        if self.form == "first_order":
            root = differentiable_root(loss, outputs, generator)
            return [pulled_back(outputs, parameters, root(self._draw(outputs, generator))) for _ in range(self.probes)]
        gradients = _gradients(loss, parameters)
        probes = [[self._draw(value, generator) for value in parameters] for _ in range(self.probes)]
        return [curvature_along(gradients, parameters, probe) for probe in probes]

    def _draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return a probe, drawn on the CPU so that every device sees the same one."""
        if self.law == "gaussian":
            return torch.randn(like.shape, generator=generator).to(like)
        return torch.randint(0, 2, like.shape, generator=generator).to(like).mul_(2).sub_(1)


def chosen(model: nn.Module, layers: LayerSelection) -> dict[str, nn.Parameter]:
    """Return the trainable parameters that are penalised, by name; see `TracePenalty`."""
    parameters = trainable(model)
    count, names = len(parameters), list(parameters)
    if layers == "middle":
        names = names[count // 4 : 3 * count // 4 + 1]
    elif layers != "all":
        names = select(parameters, layers)
    return {name: parameters[name] for name in names}


def curvature_along(gradients: Sequence[Tensor], parameters: Sequence[Tensor], vectors: Sequence[Tensor]) -> Tensor:
    """Return v^T H v in a graph, H the second derivative in some parameters (Hutchinson 1990).

    Args:
        gradients: Of the loss in the parameters, in a graph.
        parameters: The parameters.
        vectors: v, a tensor for each.
    """
    slope = sum((gradient * vector).sum() for gradient, vector in zip(gradients, vectors, strict=True))
    assert isinstance(slope, Tensor)
    if not slope.requires_grad:
        return slope * 0  # the loss is linear in the parameters
    products = torch.autograd.grad(slope, parameters, create_graph=True, allow_unused=True)
    return torch.stack([
        (vector * product).sum() for vector, product in zip(vectors, products, strict=True) if product is not None
    ]).sum()


def pulled_back(outputs: Tensor, parameters: Sequence[Tensor], cotangent: Tensor) -> Tensor:
    """Return Σ_l |J_l^T u|² in a graph, J the outputs' Jacobian, u a cotangent that may depend on the outputs."""
    found = torch.autograd.grad(outputs, parameters, cotangent, create_graph=True, allow_unused=True)
    return torch.stack([gradient.square().sum() for gradient in _present(found)]).sum()


def gauss_newton_blocks(
    outputs: Tensor, loss: Tensor, parameters: Mapping[str, nn.Parameter], generator: torch.Generator
) -> bool:
    """Return whether each parameter's block of the Hessian is its Gauss-Newton block, by a random product each.

    A parameter with zero gradient has no say.
    """
    (slope,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    whole = BatchCurvature(loss, parameters)
    rest = BatchCurvature((outputs * slope).sum(), parameters)  # its second derivative is the Hessian less J^T S J
    for name, parameter in parameters.items():
        if not whole.gradient(name).any():
            continue
        vector = torch.randn(parameter.numel(), generator=generator).to(parameter)
        difference, size = (torch.linalg.vector_norm(part.product([name], vector)) for part in (rest, whole))
        if not difference <= _TOLERANCE[parameter.dtype] * size:
            return False
    return True


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    _present(found)
    return [torch.zeros_like(value) if part is None else part for value, part in zip(parameters, found, strict=True)]


def _present(gradients: Sequence[Tensor | None]) -> list[Tensor]:
    present = [gradient for gradient in gradients if gradient is not None]
    if not present:
        raise InputError(
            "the loss depends on no parameter of `layers`: choose others, or check that it is this model's"
        )
    return present
