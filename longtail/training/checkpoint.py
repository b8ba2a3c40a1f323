"""Checkpoints that are whole or absent: weights, optimiser state and position in one safetensors file."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

log = logging.getLogger(__name__)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """Write a checkpoint atomically; the one before it stays as `<name>.previous`.

    Only the process that holds the checkpoint (see `longtail.locks.exclusive`) may write it.

    Args:
        path: File to write.
        tensors: Weights, buffers and optimiser state by name.
        position: What else is needed to go on, as plain JSON values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")  # one name, so that a kill leaves at most one behind
    save_file(
        {name: value.detach().contiguous().cpu() for name, value in tensors.items()},
        temporary,
        {"position": json.dumps(position)},
    )
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and position of the newest readable checkpoint, or None if there is none."""
    for candidate in (path, _previous(path)):
        if not candidate.exists():
            continue
        try:
            with safe_open(candidate, "pt") as file:
                position = json.loads(file.metadata()["position"])
                names = list(file.keys())
                return {name: file.get_tensor(name) for name in names}, position
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            log.warning("checkpoint %s is not readable (%s): trying the one before it", candidate.name, error)
    return None


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")
