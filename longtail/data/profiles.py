"""How many training images each class keeps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.errors import InputError


def class_counts(
    profile: str,
    available: NDArray[np.int64],
    imbalance_factor: float,
    largest_class: int,
    *,
    class_names: Sequence[str] = (),
) -> NDArray[np.int64]:
    """Return how many images each class keeps under an imbalance profile.

    `exponential` is the profile of Cui et al. 2019 (arXiv 1901.05555) that Vigneswaran et al. 2021
    (arXiv 2111.05956) use: n_i = floor(n_1 * (1 / imbalance_factor) ** (i / (C - 1))), at least 1, with classes
    in the order of the source. `step` gives the first half of the classes n_1 and the others
    n_1 / imbalance_factor (Buda et al. 2018, arXiv 1710.05381). `natural` keeps every image.

    Args:
        profile: `exponential`, `step` or `natural`.
        available: Images of each class in the source, shape (C,).
        imbalance_factor: Largest count over smallest, at least 1.
        largest_class: n_1; 0 stands for the smallest entry of `available`.
        class_names: Names for the error message; indices are given without them.

    Returns:
        Counts of shape (C,).

    Raises:
        InputError: If a class has fewer images than it should keep; the message names all such classes.

    >>> class_counts("exponential", np.array([500] * 5), 100.0, 500).tolist()
    [500, 158, 50, 15, 5]
    """
    classes = len(available)
    if profile == "natural":
        return np.asarray(available, dtype=np.int64)
    largest = largest_class or int(np.min(available))
    position = np.arange(classes)
    if profile == "exponential":
        exponent = position / max(classes - 1, 1)
    elif profile == "step":
        exponent = (position >= max(classes // 2, 1)).astype(float)
    else:
        raise InputError(f"profile is {profile!r}: choose from exponential, step, natural")
    counts = np.maximum(_floor(largest * (1.0 / imbalance_factor) ** exponent), 1)
    _check_available(counts, available, class_names)
    return counts


def _floor(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return values rounded down, but one rounding error below a whole number counts as that number."""
    nearest = np.rint(values)
    whole = np.isclose(values, nearest, rtol=1e-12, atol=1e-9)
    return np.where(whole, nearest, np.floor(values)).astype(np.int64)


def _check_available(counts: NDArray[np.int64], available: NDArray[np.int64], class_names: Sequence[str]) -> None:
    short = np.flatnonzero(counts > available)
    if len(short):
        names = [repr(class_names[i]) if class_names else f"class {i}" for i in map(int, short)]
        listed = ", ".join(f"{name} has {available[i]} of {counts[i]}" for name, i in zip(names, short, strict=True))
        raise InputError(f"too few images in {len(short)} classes: {listed}; lower data.largest_class or set it to 0")
