"""Mean and covariance of every class, computed in shards and merged exactly.

A covariance is never stored: a class keeps a factor `F` with `F.T @ F` equal to its scatter matrix, and at most
D rows of it, so a class of n rows costs min(n, D) x D numbers.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class ClassStatistics:
    """Counts, means and scatter factors of C classes of D-dimensional features.

    Attributes:
        counts: Rows of each class, `(C,)` int64.
        means: Class means, `(C, D)` float64; zero for a class without rows.
        factors: For each class a float64 array `(r, D)`, `r <= D`, whose `F.T @ F` is the sum of the outer products
            of the centred rows.
    """

    counts: np.ndarray
    means: np.ndarray
    factors: tuple[np.ndarray, ...]

    @classmethod
    def from_rows(cls, X: np.ndarray, codes: np.ndarray, n_classes: int) -> Self:
        """Compute the statistics of one shard.

        Args:
            X: Features, `(N, D)`.
            codes: Class of each row, `(N,)`, in `[0, n_classes)`.
            n_classes: Number of classes; a shard need not hold all of them.

        Returns:
            The statistics of this shard's rows.
        """
        order, starts = group_rows(codes, n_classes)
        means = np.zeros((n_classes, X.shape[1]))
        factors = []
        for index in range(n_classes):
            rows = X[order[starts[index] : starts[index + 1]]].astype(np.float64)
            if len(rows):
                means[index] = rows.mean(axis=0)
            factors.append(compress_factor(rows - means[index]))
        return cls(np.diff(starts), means, tuple(factors))

    def merge(self, other: Self) -> Self:
        """Return the statistics of both shards' rows together.

        Args:
            other: Statistics of other rows of the same classes.

        Returns:
            What one pass over all rows would give, up to rounding.

        Source:
            Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 1.5, with the scatter
            matrices kept as factors.
        """
        counts = self.counts + other.counts
        weights = other.counts / np.maximum(counts, 1)
        difference = other.means - self.means
        means = self.means + weights[:, None] * difference
        lengths = np.sqrt(self.counts * weights)
        factors = tuple(
            compress_factor(np.vstack((mine, theirs, length * step)) if length else np.vstack((mine, theirs)))
            for mine, theirs, length, step in zip(self.factors, other.factors, lengths, difference, strict=True)
        )
        return type(self)(counts, means, factors)

    def covariance(self, index: int) -> np.ndarray:
        """Return the unbiased covariance of one class, `(D, D)` float64.

        Args:
            index: Class in `[0, C)`.

        Returns:
            The covariance; all NaN for a class of fewer than two rows, which has none.
        """
        if self.counts[index] < 2:
            return np.full((self.means.shape[1],) * 2, np.nan)
        factor = self.factors[index]
        covariance: np.ndarray = factor.T @ factor / (self.counts[index] - 1)
        return covariance


def group_rows(codes: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Group rows by class.

    Args:
        codes: Class of each row, `(N,)`, in `[0, n_classes)`.
        n_classes: Number of classes.

    Returns:
        Row indices by class and, within a class, in their own order, `(N,)`; and the offset at which each class
        starts, `(n_classes + 1,)`.
    """
    starts = np.zeros(n_classes + 1, np.int64)
    np.cumsum(np.bincount(codes, minlength=n_classes), out=starts[1:])
    return np.argsort(codes, kind="stable"), starts


def compress_factor(factor: np.ndarray) -> np.ndarray:
    """Return a factor of at most D rows with the same `F.T @ F`, by a QR decomposition if there are more.

    Args:
        factor: `(n, D)`.

    Returns:
        `(min(n, D), D)`.
    """
    if len(factor) <= factor.shape[1]:
        return factor
    return np.asarray(np.linalg.qr(factor, mode="r"))
