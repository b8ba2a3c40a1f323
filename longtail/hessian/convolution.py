"""Convolutions of which only those derivatives are computed that are asked for.

A convolution y = x * w belongs to the form <x * w, y>, which is linear in each of the three: what stands in the place
of one of them is a contraction of the other two, and so is every derivative of a contraction. PyTorch's second
derivative always computes the one in the weight too, and copies what it touches, although a product with one layer's
curvature needs it in that layer alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_INPUT, _WEIGHT, _OUTPUT = range(3)
_FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)


class LeanConvolution(TorchFunctionMode):
    """A context in which convolutions are made so that their derivatives of any order cost what they need to."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a function returns, but for a convolution what `convolution` does."""
        if func in _FUNCTIONS:
            return convolution(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def convolution(
    plain: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Return what `torch.nn.functional.conv2d` or one of its kind, `plain`, returns; padding by name is left to it."""
    if isinstance(padding, str) or input.dim() != weight.dim() or not torch.is_grad_enabled():
        return plain(input, weight, bias, stride, padding, dilation, groups)
    size = weight.dim() - 2
    with torch.no_grad():
        shape = plain(input[:0], weight, None, stride, padding, dilation, groups).shape
    form = _Form(
        (input.shape, weight.shape, Size([len(input), *shape[1:]])),
        _each(stride, size),
        _each(padding, size),
        _each(dilation, size),
        groups,
    )
    found = _contract(form, _OUTPUT, input, weight)
    return found if bias is None else found + bias.view(-1, *[1] * size)


def _each(value: int | Sequence[int], size: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * size if len(values) == 1 else values


class _Form(NamedTuple):
    """The three arguments' shapes, and how the convolution is made."""

    shapes: tuple[Size, Size, Size]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    def contract(self, missing: int, first: Tensor, second: Tensor) -> Tensor:
        """Return what stands in one argument's place, from the two others in their order."""
        made, none = (self.stride, self.padding, self.dilation), [0] * len(self.stride)
        if missing == _OUTPUT:
            found = torch.ops.aten.convolution(first, second, None, *made, False, none, self.groups)
        elif missing == _INPUT:
            found = torch.ops.aten.convolution(second, first, None, *made, True, self._left_over(), self.groups)
        else:
            any_weight = first.new_empty(1).expand(self.shapes[_WEIGHT])
            mask = [False, True, False]
            found = torch.ops.aten.convolution_backward(
                second, first, any_weight, None, *made, False, none, self.groups, mask
            )[1]
        return found  # type: ignore[no-any-return]

    def _left_over(self) -> list[int]:
        """Return the last rows and columns of the input that no step of the stride reaches."""
        input, weight, output = self.shapes
        return [
            size + 2 * padding - dilation * (window - 1) - 1 - (steps - 1) * stride
            for size, window, steps, stride, padding, dilation in zip(
                input[2:], weight[2:], output[2:], self.stride, self.padding, self.dilation, strict=True
            )
        ]


def _contract(form: _Form, missing: int, first: Tensor, second: Tensor) -> Tensor:
    """Return a contraction in the graph of the two arguments."""
    if not torch.is_grad_enabled():
        return form.contract(missing, first, second)
    arguments = (first, second)
    gates = [
        _Gate.apply(form, missing, place, arguments[place], (arguments[1 - place],))
        if arguments[place].requires_grad
        else None
        for place in (0, 1)
    ]
    return _Value.apply(form, missing, first.detach(), second.detach(), *gates)  # type: ignore[no-any-return]


class _Value(torch.autograd.Function):
    """A contraction's value, whose gradient goes to the gates."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, form: _Form, missing: int, first: Tensor, second: Tensor, *_gates: Tensor | None
    ) -> Tensor:
        return form.contract(missing, first, second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, None, None, None, *(gradient if needed else None for needed in ctx.needs_input_grad[4:])


class _Gate(torch.autograd.Function):
    """Zeros that take no memory, whose gradient is the contraction's in one argument: computed if that is asked for.

    The other argument comes in a tuple, where autograd does not see it: a pass that asks for its gradient alone would
    else call this one too.
    """

    @staticmethod
    def forward(ctx: Any, form: _Form, missing: int, place: int, own: Tensor, others: tuple[Tensor]) -> Tensor:
        ctx.form, ctx.missing, ctx.place = form, missing, place
        ctx.save_for_backward(*others)
        return own.new_zeros(1).expand(form.shapes[missing])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        slots = [slot for slot in (_INPUT, _WEIGHT, _OUTPUT) if slot != ctx.missing]
        other = (slots[1 - ctx.place], *ctx.saved_tensors)
        (_, first), (_, second) = sorted([other, (ctx.missing, gradient)], key=lambda entry: entry[0])
        return None, None, None, _contract(ctx.form, slots[ctx.place], first, second), None
