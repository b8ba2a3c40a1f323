"""Files of weights that a backbone can start from; none of them can carry code."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from longtail.errors import InputError

PREFIX = "backbone."
"""How the names of a backbone's weights begin in our own artifacts."""
_WRAPPERS = ("state_dict", "model")
"""Keys under which training scripts put the weights, beside an optimiser's state or settings."""
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names in DenseNet's published weights, `norm.1`, where the network has `norm1`."""
_SHOWN = 3
"""Names that an error lists."""


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and, in a file from one of our artifacts, the images that they are for."""

    tensors: dict[str, Tensor]
    mean: tuple[float, ...] = ()  # one a channel, of pixel values in [0, 1]; empty if unknown
    std: tuple[float, ...] = ()
    input_size: int | None = None  # side in pixels, 0 for images as they are; None if unknown


def read_weights(path: Path) -> Weights:
    """Return what a file holds.

    Args:
        path: A `.safetensors` file, or a `.pth` or `.pt` file of a state dict (also under `state_dict` or `model`).

    Raises:
        InputError: If there is no such file, it is of another kind, or it holds anything but tensors, such as code.
    """
    if not path.is_file():
        raise InputError(f"backbone.weights={path} is not a file: give 'published' or a .safetensors or .pth file")
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        tensors, metadata = _read_pth(path), {}
    else:
        raise InputError(f"backbone.weights={path} ends in {path.suffix!r}: give a .safetensors or .pth file")
    if not any(name.startswith(PREFIX) for name in tensors):
        return Weights(tensors)
    own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    size = int(metadata["input_size"]) if "input_size" in metadata else None
    return Weights(own, _pixel_values(tensors.get("mean")), _pixel_values(tensors.get("std")), size)


def load_backbone(backbone: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Give a backbone the weights of a file; those of the classifier that it was part of are ignored.

    Args:
        backbone: One of `registry.build_backbone`; changed in place.
        tensors: Weights by name, of the backbone or of the whole classifier.
        source: Where they come from, for error messages.

    Raises:
        InputError: If a weight is missing, is not the backbone's, or has another shape.
    """
    left_out = getattr(backbone, "left_out", ())
    given = {_OLD_DENSE.sub(r"\1\2", name): value for name, value in tensors.items() if not name.startswith(left_out)}
    wrong = [
        f"{name} of shape {list(given[name].shape)} instead of {list(value.shape)}"
        for name, value in backbone.state_dict().items()
        if name in given and given[name].shape != value.shape
    ]
    if wrong:
        raise _unfit(source, f"it has {_some(wrong)}")
    # Not a comparison of names: layers of torchvision also read the names that they had in earlier releases.
    result = backbone.load_state_dict(given, strict=False)
    if result.missing_keys or result.unexpected_keys:
        lacking = f"it lacks {_some(result.missing_keys)}" if result.missing_keys else ""
        besides = f"it has {_some(result.unexpected_keys)}, which the network has not" if result.unexpected_keys else ""
        raise _unfit(source, "; ".join(filter(None, (lacking, besides))))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"backbone.weights={path} is no whole .safetensors file ({error}): write it again") from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    # Damaged files raise anything from EOFError to KeyError; code raises what pickle calls an unpickling error.
    except Exception as error:
        raise InputError(
            f"backbone.weights={path} is not read, as it is damaged or holds code ({type(error).__name__}): "
            "save the network's state_dict() alone, best as .safetensors"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(
            f"backbone.weights={path} holds more than named tensors: save the network's state_dict() alone"
        )
    return found


def _pixel_values(buffer: Tensor | None) -> tuple[float, ...]:
    """Return a network's `mean` or `std`, kept for bytes, as values in [0, 1]."""
    return () if buffer is None else tuple((buffer.double().flatten() / 255).tolist())


def _unfit(source: str, reason: str) -> InputError:
    return InputError(f"{source} does not fit: {reason}: choose the backbone.network that these weights are of")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
