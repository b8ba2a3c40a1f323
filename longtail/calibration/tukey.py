"""Tukey's ladder of powers, which makes skewed non-negative features more Gaussian."""

import numpy as np

from longtail.errors import InputError

LOG_OFFSET = 1e-6
"""Keeps the logarithm finite at features that a ReLU set to zero; the authors' value."""


def tukey_transform(X: np.ndarray, power: float) -> np.ndarray:
    """Raise features to a power elementwise; power 0 stands for the logarithm.

    Args:
        X: Features, `(N, D)` or `(D,)`, float32 or float64.
        power: Tukey's lambda. 1 returns `X` itself, 0 gives `log(x + 1e-6)`, anything else `x ** power`.

    Returns:
        The transformed features, in the shape and dtype of `X`.

    Raises:
        InputError: If a feature is negative and the power is not a whole number above zero.

    Source:
        Vigneswaran et al. 2021, arXiv 2111.05956; Yang et al. 2021, arXiv 2101.06395, eq. 5.

    >>> tukey_transform(np.array([4.0, 9.0]), 0.5)
    array([2., 3.])
    """
    reject_negative(X, power)
    return tukey_power(X, power)


def tukey_power(X: np.ndarray, power: float) -> np.ndarray:
    """Return `tukey_transform` of features that `reject_negative` has seen.

    Args:
        X: Features, `(N, D)` or `(D,)`, float32 or float64.
        power: Tukey's lambda.

    Returns:
        The transformed features, in the shape and dtype of `X`.
    """
    if power == 1:
        return X
    transformed: np.ndarray = np.log(X + X.dtype.type(LOG_OFFSET)) if power == 0 else np.power(X, X.dtype.type(power))
    return transformed


def reject_negative(X: np.ndarray, power: float) -> None:
    """Check that Tukey's transform is defined on features.

    Args:
        X: Features, `(N, D)` or `(D,)`.
        power: Tukey's lambda.

    Raises:
        InputError: If a feature is negative and the power is not a whole number above zero.
    """
    if (power > 0 and power == int(power)) or X.size == 0 or X.min() >= 0:
        return
    negative = np.atleast_2d(X) < 0
    row = int(negative.any(axis=1).argmax())
    raise InputError(
        f"{int(negative.sum())} features are negative (first in row {row}) and tukey is {power:g}, which needs "
        "features >= 0: use tukey=1, or features that end in a ReLU"
    )
