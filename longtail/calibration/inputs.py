"""What the estimator accepts, and how results go back in the caller's kind of array."""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from longtail.errors import InputError

_CHOICES: dict[str, tuple[object, ...]] = {
    "own_class": ("include", "exclude"),
    "statistics": ("transformed", "raw"),
    "clip": (False, True),
    "alpha_on": ("diagonal", "all"),
}

_CHUNK_ROWS = 4096
"""Rows that are checked at once: a mask of a whole memory-mapped array may not fit."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the estimator's parameters by themselves.

    Args:
        settings: Values by parameter.

    Raises:
        InputError: If one is outside its range.
    """
    n_neighbors, random_state = settings["n_neighbors"], settings["random_state"]
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, (int, np.integer)) or n_neighbors < 1:
        raise InputError(f"n_neighbors is {n_neighbors!r}: give a whole number >= 1")
    for name in ("fill", "tukey", "alpha", "eps"):
        value = settings[name]
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise InputError(f"{name} is {value!r}: give a finite number >= 0")
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            raise InputError(f"{name} is {settings[name]!r}: choose from {', '.join(map(str, choices))}")
    if settings["clip"] and settings["tukey"] == 0:
        raise InputError("clip is True and tukey is 0: logarithms of features below 1 are negative, give clip=False")
    whole = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0
    if not (whole or random_state is None or isinstance(random_state, np.random.Generator)):
        raise InputError(f"random_state is {random_state!r}: give a whole number >= 0, a NumPy Generator or None")


def entropy(random_state: int | np.random.Generator | None) -> Any:
    """Return what all random streams of a fit come from."""
    if isinstance(random_state, np.random.Generator):
        return random_state.integers(1 << 63, size=2).tolist()
    return np.random.SeedSequence(None if random_state is None else int(random_state)).entropy


def check_neighbors(n_neighbors: int, n_classes: int, own_class: str) -> None:
    """Check that there are as many classes as neighbours are asked for.

    Raises:
        InputError: If there are too few.
    """
    limit, without = n_classes, ""
    if own_class == "exclude":
        limit, without = n_classes - 1, ", one of them the excluded own one"
    if n_neighbors > limit:
        raise InputError(f"n_neighbors is {n_neighbors} and y has {n_classes} classes{without}: give at most {limit}")


def as_features(X: Any) -> np.ndarray:
    """Return features as a NumPy array, without a copy where the input allows it.

    Args:
        X: `(N, D)` float32 or float64; NumPy array or torch tensor. Values are not checked here.

    Returns:
        `(N, D)`.

    Raises:
        InputError: If the shape or dtype is not as above.
    """
    array = _as_numpy(X)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"X has shape {array.shape}: give features as (rows, dimensions), at least one of each")
    if array.dtype not in (np.float32, np.float64):
        raise InputError(f"X has dtype {array.dtype}: convert it to float32 or float64")
    return array


def as_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return labels as a NumPy array.

    Args:
        y: `(n_rows,)` integers or text; NumPy array or torch tensor.
        n_rows: Number of feature rows.

    Returns:
        `(n_rows,)`.

    Raises:
        InputError: If a row has no label, or labels are neither whole numbers nor text.
    """
    labels = _as_numpy(y)
    if labels.shape != (n_rows,):
        raise InputError(f"y has shape {labels.shape} and X {n_rows} rows: give one label for each row, as ({n_rows},)")
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind == "O":
        missing = np.array([label is None or label != label for label in labels])
    else:
        missing = np.zeros(0, bool)
    if missing.any():
        raise InputError(
            f"{int(missing.sum())} rows have no label (first: row {int(missing.argmax())}): label or drop them"
        )
    if labels.dtype.kind not in "biuUSOT":
        raise InputError(f"y has dtype {labels.dtype}: give integers or text")
    return labels


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct labels in order, `(C,)`, and each row's index into them, `(N,)`.

    Raises:
        InputError: If labels of different kinds cannot be ordered.
    """
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        raise InputError("y mixes labels of different types: give all integers or all text") from None
    return classes, codes


def known_codes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return each label's index in the distinct labels that `encode_labels` found, `(N,)`.

    Raises:
        InputError: If a label is not one of them.
    """
    codes: np.ndarray = np.searchsorted(classes, labels)
    unknown = classes[np.minimum(codes, len(classes) - 1)] != labels
    if unknown.any():
        raise InputError(f"fit saw no class {labels[unknown.argmax()]}: give labels of the classes that it saw")
    return codes


def check_finite(X: np.ndarray) -> None:
    """Check features.

    Raises:
        InputError: If any is NaN or infinite.
    """
    total, first = 0, -1
    for start in range(0, len(X), _CHUNK_ROWS):
        bad = ~np.isfinite(X[start : start + _CHUNK_ROWS])
        total += int(bad.sum())
        if total and first < 0:
            first = start + int(bad.any(axis=1).argmax())
    if total:
        raise InputError(f"{total} features are NaN or infinite (first in row {first}): drop or repair those rows")


def like_input(array: np.ndarray, given: Any) -> Any:
    """Return a result as the kind of array that was given.

    Args:
        array: The result.
        given: The caller's array.

    Returns:
        A tensor on the device of `given` if that is a torch tensor, else `array`.
    """
    if not _is_tensor(given):
        return array
    return sys.modules["torch"].from_numpy(array).to(given.device)


def _is_tensor(given: Any) -> bool:
    # A tensor can only have come from a process that has imported torch: no need to import it to find out.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def _as_numpy(given: Any) -> np.ndarray:
    return np.asarray(given.detach().cpu().numpy() if _is_tensor(given) else given)
