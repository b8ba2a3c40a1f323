"""Which parameters an analysis looks at."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from longtail.errors import InputError

LayerSelection = str | Sequence[str] | Callable[[str, nn.Parameter], bool]

WEIGHTS = "weights"


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require grad, in order of registration, a tied one once under its first name.

    Raises:
        InputError: If there is none, or one is not in float32 or float64.
    """
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        raise InputError("the model has no parameter that requires grad: unfreeze what is to be analysed")
    for name, parameter in found.items():
        if parameter.dtype not in {torch.float32, torch.float64}:
            raise InputError(f"{name} is {parameter.dtype}, not float32 or float64: call model.float() first")
    return found


def select(parameters: dict[str, nn.Parameter], layers: LayerSelection) -> list[str]:
    """Return the names of the chosen layers, in order of registration.

    Args:
        parameters: Parameters by name.
        layers: `weights` for every parameter called `weight` with two or more dimensions (convolutions, linear
            and cosine classifiers, embeddings; neither biases nor normalisation), or one or more shell patterns
            for parameter names such as `layer1.*`, or a function of name and parameter.

    Returns:
        Names of parameters.

    Raises:
        InputError: If nothing, or for some pattern nothing, is chosen.
    """
    if callable(layers):
        return _found([name for name, parameter in parameters.items() if layers(name, parameter)], layers, parameters)
    if layers == WEIGHTS:
        return _found([name for name, value in parameters.items() if _is_weight(name, value)], layers, parameters)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns or ["nothing"]:
        _found([name for name in parameters if fnmatchcase(name, pattern)], pattern, parameters)
    return [name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _is_weight(name: str, value: Tensor) -> bool:
    return name.rpartition(".")[2] == "weight" and value.dim() >= 2


def _found(names: list[str], asked: object, parameters: dict[str, nn.Parameter]) -> list[str]:
    """Return the names, or raise if there is none."""
    if names:
        return names
    known = ", ".join(list(parameters)[:4])
    raise InputError(f"no trainable parameter matches layers={asked!r}: {len(parameters)} are there, such as {known}")
