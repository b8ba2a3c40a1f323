"""Which images of each class are chosen: reproducible, nested in the imbalance factor, independent per class."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.errors import InputError

Rows = NDArray[np.int64]


def choose(labels: Rows, counts: Rows, generator: np.random.Generator) -> Rows:
    """Choose `counts[c]` random images of every class c.

    Each class shuffles its images with a child generator of its own and keeps the first ones. So what is chosen
    of one class does not depend on the counts of others, and a larger count contains the smaller one's choice.

    Args:
        labels: Class of each image, shape (N,); entries outside [0, C) are never chosen.
        counts: Images to choose of each class, shape (C,).
        generator: Fresh generator; children are spawned from it.

    Returns:
        Sorted row indices, shape (sum of counts,).
    """
    shuffled = _shuffled_classes(labels, len(counts), generator)
    return _sorted([rows[:count] for rows, count in zip(shuffled, counts, strict=True)])


def choose_validation(
    labels: Rows,
    chosen: Rows,
    method: str,
    per_class: int,
    generator: np.random.Generator,
    *,
    class_names: Sequence[str],
) -> tuple[Rows, Rows]:
    """Choose a validation set from the source's training images.

    Args:
        labels: Class of each image of the source's training split, shape (N,).
        chosen: Rows that `choose` returned.
        method: `none` leaves validation empty; `unchosen` takes `per_class` images of every class that were not
            chosen; `chosen` moves up to `per_class` images of every class out of `chosen`, but never more than
            half of the class, so that one image always stays.
        per_class: Validation images of a class.
        generator: Fresh generator; children are spawned from it.
        class_names: Names of the C classes, for the error message.

    Returns:
        Sorted training rows and sorted validation rows, disjoint.

    Raises:
        InputError: If `unchosen` finds too few images; the message names all such classes.
    """
    if method == "none":
        return chosen, np.empty(0, dtype=np.int64)
    is_chosen = np.zeros(len(labels), dtype=bool)
    is_chosen[chosen] = True
    pool = is_chosen if method == "chosen" else ~is_chosen
    shuffled = [rows[pool[rows]] for rows in _shuffled_classes(labels, len(class_names), generator)]
    if method == "chosen":
        validation = _sorted([rows[: min(per_class, len(rows) // 2)] for rows in shuffled])
        return np.setdiff1d(chosen, validation, assume_unique=True), validation
    short = [(name, len(rows)) for name, rows in zip(class_names, shuffled, strict=True) if len(rows) < per_class]
    if short:
        listed = ", ".join(f"{name!r} has {left} of {per_class}" for name, left in short)
        raise InputError(
            f"too few images left for validation in {len(short)} classes: {listed}; "
            "lower data.validation_per_class or data.largest_class, or set data.validation=chosen"
        )
    return chosen, _sorted([rows[:per_class] for rows in shuffled])


def subset_sha256(indices: Rows) -> str:
    """Return the SHA-256 of row indices as little-endian int64 bytes, as hex."""
    return hashlib.sha256(np.ascontiguousarray(indices, dtype="<i8").tobytes()).hexdigest()


def _shuffled_classes(labels: Rows, classes: int, generator: np.random.Generator) -> list[Rows]:
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(classes + 1))
    children = generator.spawn(classes)
    return [child.permutation(order[bounds[c] : bounds[c + 1]]) for c, child in enumerate(children)]


def _sorted(parts: list[Rows]) -> Rows:
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
