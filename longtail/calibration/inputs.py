"""What the estimator accepts, and how results go back in the caller's kind of array."""

import math
import sys
from typing import Any

import numpy as np

from longtail.errors import InputError

_CHUNK_ROWS = 4096
"""Rows that are checked at once: a mask of a whole memory-mapped array may not fit."""


def check_settings(
    n_neighbors: object, tukey: object, alpha: object, alpha_on: object, eps: object, random_state: object
) -> None:
    """Check the estimator's parameters by themselves.

    Raises:
        InputError: If one is outside its range.
    """
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, (int, np.integer)) or n_neighbors < 1:
        raise InputError(f"n_neighbors is {n_neighbors!r}: give a whole number >= 1")
    for name, value in (("tukey", tukey), ("alpha", alpha), ("eps", eps)):
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type, operator]
            raise InputError(f"{name} is {value!r}: give a finite number >= 0")
    if alpha_on not in ("diagonal", "all"):
        raise InputError(f"alpha_on is {alpha_on!r}: choose from diagonal, all")
    whole = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0
    if not (whole or random_state is None or isinstance(random_state, np.random.Generator)):
        raise InputError(f"random_state is {random_state!r}: give a whole number >= 0, a NumPy Generator or None")


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
