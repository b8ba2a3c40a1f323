"""One model's predictions on a held-out set, as a file that holds all that a decision needs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from longtail.errors import InputError


@dataclass(frozen=True, eq=False)
class Scores:
    """Predictions of one model, in the classes of the held-out set.

    Attributes:
        labels: (N,) true classes.
        predictions: (N,) predicted classes; -1 for a class that the set does not have.
        class_names: (C,) names.
        groups: (C,) of `longtail.evaluation.GROUPS`, by the training images of the run that the set belongs to.
        test_digest: SHA-256 that identifies the set.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: tuple[str, ...]
    test_digest: str

    def write(self, path: Path) -> None:
        """Write a safetensors file."""
        details = {"class_names": self.class_names, "groups": self.groups, "test_digest": self.test_digest}
        tensors = {"labels": self.labels.astype(np.int32), "predictions": self.predictions.astype(np.int32)}
        save_file(tensors, path, {name: json.dumps(value) for name, value in details.items()})

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Return what `write` wrote.

        Raises:
            InputError: If the file holds something else.
        """
        try:
            with safe_open(path, framework="np") as file:
                details = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
                labels, predictions = (file.get_tensor(name).astype(np.int64) for name in ("labels", "predictions"))
            names, groups, digest = tuple(details["class_names"]), tuple(details["groups"]), str(details["test_digest"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} holds no predictions ({error}): run the pipeline again") from None
        inside = len(labels) > 0 and labels.min() >= 0 and labels.max() < len(names)
        if not inside or labels.shape != predictions.shape or len(groups) != len(names):
            raise InputError(f"{path} holds predictions of other classes than its {len(names)}: run the pipeline again")
        return cls(labels, predictions, names, groups, digest)


def mapped(predictions: NDArray[np.int64], known: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """Return predictions in other classes, by name; -1 where those do not have it.

    Args:
        predictions: (N,) in `[0, len(known))`.
        known: Names of the classes that they are in.
        wanted: Names of the classes of the result.

    Example:
        >>> mapped(np.array([0, 1, 2]), ["cat", "dog", "cow"], ["dog", "cat", "eel"])
        array([ 1,  0, -1])
    """
    places = {name: place for place, name in enumerate(wanted)}
    return np.array([places.get(name, -1) for name in known], dtype=np.int64)[predictions]
