"""Batch normalisation that can be differentiated any number of times; PyTorch's own can be twice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class ComposedBatchNorm(TorchFunctionMode):
    """A context in which every batch normalisation is made of elementary operations.

    The gradient of a Hutchinson estimate is a third derivative. With constant statistics a normalisation is one
    multiplication and one addition, whose second derivatives are also cheaper than the fused operation's.

    Args:
        move_averages: Whether a forward pass with batch statistics moves the running ones, as PyTorch's does. Graphs
            that were made before cannot be differentiated any more once they moved.
    """

    def __init__(self, *, move_averages: bool = True) -> None:
        super().__init__()
        self._move_averages = move_averages

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a function returns, but for `torch.nn.functional.batch_norm` what `batch_norm` does."""
        if func is F.batch_norm:
            return batch_norm(*args, **(kwargs or {}), move_averages=self._move_averages)
        return func(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    move_averages: bool = True,
) -> Tensor:
    """Return what `torch.nn.functional.batch_norm` returns, and move the averages as it does unless told not to."""
    if training or running_mean is None or running_var is None:
        others = [axis for axis in range(input.dim()) if axis != 1]
        variance, mean = torch.var_mean(input, others, correction=0)
        if move_averages:
            _move(running_mean, mean, momentum)
            count = input.numel() // input.shape[1]
            _move(running_var, variance * (count / max(count - 1, 1)), momentum)
    else:
        mean, variance = running_mean, running_var
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = [1, -1] + [1] * (input.dim() - 2)
    return torch.addcmul(shift.view(shape), input, scale.view(shape))


@torch.no_grad()
def _move(average: Tensor | None, value: Tensor, momentum: float) -> None:
    if average is not None:
        average.lerp_(value.to(average.dtype), momentum)
