"""Results of an analysis as they come, on disk, so that one that was killed goes on where it was."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from longtail.artifacts import read_json, sha256_json, write_json
from longtail.errors import InputError

_QUESTION = "question.json"

_log = logging.getLogger(__name__)


class Journal:
    """Named results of one analysis: computed once, then read from its folder; without a folder always computed.

    Everything an analysis does between two results is deterministic, so that after a kill the same numbers come out.

    Args:
        folder: Where results are kept; one that answered another question is emptied.
        question: Digest of all that the results depend on.
    """

    def __init__(self, folder: Path | None, question: str) -> None:
        self._folder = folder
        if folder is None or _asked(folder) == question:
            return
        if folder.exists() and any(folder.iterdir()):
            if not (folder / _QUESTION).is_file():
                raise InputError(f"{folder} is not empty and no journal of an analysis: give a folder of its own")
            _log.warning("the journal in %s is of another analysis: starting anew", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _QUESTION, question)

    def result(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return named tensors, from the folder or computed and then kept there, whole or not at all.

        Args:
            name: Of the result; the same at every attempt.
            compute: Returns the tensors; they come back on the CPU if they are read.

        Returns:
            The tensors.
        """
        if self._folder is None:
            return dict(compute())
        path = self._folder / f"{name}.safetensors"
        try:
            # Copies, as sums depend on how memory is aligned, and a file's tensors lie anywhere.
            return {key: tensor.clone() for key, tensor in load_file(path).items()}
        except (FileNotFoundError, SafetensorError):
            found = dict(compute())
        temporary = path.with_suffix(".new")
        save_file({key: tensor.detach().contiguous() for key, tensor in found.items()}, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return found

    def close(self) -> None:
        """Remove the folder: the analysis is complete."""
        if self._folder is not None:
            shutil.rmtree(self._folder)


def digest(model: nn.Module, settings: Sequence[object]) -> str:
    """Return a digest of a model's weights and buffers and of an analysis's settings.

    Args:
        model: The model.
        settings: Whatever else the results depend on, as JSON values.
    """
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        weights.update(save({name: value.detach().contiguous()}))
    return sha256_json([weights.hexdigest(), *settings])


def _asked(folder: Path) -> str | None:
    """Return the question that a folder answers, if it is a journal."""
    try:
        return str(read_json(folder / _QUESTION))
    except InputError:
        return None
