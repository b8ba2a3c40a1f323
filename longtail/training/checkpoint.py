"""Checkpoints that are whole or absent: weights, optimiser state and position in one safetensors file."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longtail.storage.mirror import Mirror

log = logging.getLogger(__name__)

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]
"""Weights, buffers and optimiser state by name, and what else is needed to go on."""


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
    _put(temporary, path)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Return tensors and position of the newest readable checkpoint, or None if there is none."""
    for candidate in (path, _previous(path)):
        if candidate.exists() and (found := _read(candidate)) is not None:
            return found
    return None


def furthest_checkpoint(path: Path, mirror: Mirror | None) -> tuple[Checkpoint, str] | None:
    """Return the checkpoint to go on from and where it was, or None if there is none.

    Args:
        path: File of this machine; it becomes that of the mirror if that is further.
        mirror: What this and other machines put into a store; None for none.
    """
    found = load_checkpoint(path)
    for copy in mirror.further(progress(found[1]) if found else (), path.parent) if mirror else ():
        if (stored := _read(copy)) is not None:
            _put(copy, path)
            return stored, mirror.url if mirror else ""
    return (found, str(path)) if found else None


def progress(position: dict[str, Any]) -> tuple[int, int]:
    """Return how far a position is: its epoch, and its step in that."""
    return position["epoch"], position["step"]


def _read(path: Path) -> Checkpoint | None:
    try:
        with safe_open(path, "pt") as file:
            position = json.loads(file.metadata()["position"])
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, position
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        log.warning("checkpoint %s is not readable (%s): trying the one before it", path.name, error)
        return None


def _put(file: Path, path: Path) -> None:
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(file, path)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")
