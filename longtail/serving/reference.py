"""Statistics of training features that a model keeps, for telling later whether new data still look like them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from longtail.calibration.statistics import group_rows

Floats = NDArray[np.float64]
BLOCK_VALUES = 2**22
"""Features that are read at once, 32 MB as float64."""


@dataclass
class ReferenceStatistics:
    """Counts, class means and the scatter within the classes, over rows that are added block by block.

    Attributes:
        counts: (C,) rows of each class.
        means: (C, D) class means; zero for a class without rows.
        squares: (D,) sums of squared differences to the mean of the row's class.
    """

    counts: NDArray[np.int64]
    means: Floats
    squares: Floats

    @classmethod
    def empty(cls, classes: int, size: int) -> Self:
        """Return the statistics of no rows."""
        return cls(np.zeros(classes, np.int64), np.zeros((classes, size)), np.zeros(size))

    @classmethod
    def of(cls, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> Self:
        """Return the statistics of features (N, D), which may be memory-mapped, with labels (N,) in [0, classes)."""
        found = cls.empty(classes, features.shape[1])
        rows = max(1, BLOCK_VALUES // features.shape[1])
        for start in range(0, len(features), rows):
            found.add(features[start : start + rows], labels[start : start + rows])
        return found

    def add(self, rows: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Add rows (n, D) with labels (n,)."""
        order, starts = group_rows(labels, len(self.counts))
        present = np.flatnonzero(np.diff(starts))
        if not len(present):
            return
        sorted_rows = rows[order].astype(np.float64)
        counts = np.diff(starts)[present]
        means = np.add.reduceat(sorted_rows, starts[present]) / counts[:, None]
        sorted_rows -= np.repeat(means, counts, axis=0)
        self.squares += np.square(sorted_rows, out=sorted_rows).sum(axis=0)
        self._combine(present, counts, means)

    def merge(self, other: Self) -> None:
        """Add the rows that went into other statistics of the same classes."""
        self.squares += other.squares
        present = np.flatnonzero(other.counts)
        self._combine(present, other.counts[present], other.means[present])

    def deviation(self) -> Floats:
        """Return (D,) the pooled standard deviation within the classes; zero if no class has two rows."""
        freedom = max(1, int(self.counts.sum()) - int(np.count_nonzero(self.counts)))
        deviation: Floats = np.sqrt(self.squares / freedom)
        return deviation

    def save(self, path: Path) -> None:
        """Write `class_means` (C, D) and `std` (D,) as float32 and `class_counts` (C,) as int64."""
        tensors: dict[str, NDArray[Any]] = {
            "class_means": self.means.astype(np.float32),
            "std": self.deviation().astype(np.float32),
            "class_counts": self.counts,
        }
        save_file(tensors, path)

    def _combine(self, present: NDArray[np.int64], counts: NDArray[np.int64], means: Floats) -> None:
        """Add means and counts of some classes, and the scatter between old and new means.

        Source:
            Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 1.5.
        """
        total = self.counts[present] + counts
        difference = means - self.means[present]
        weight = counts / total
        self.squares += np.einsum("nd,nd,n->d", difference, difference, self.counts[present] * weight)
        self.means[present] += weight[:, None] * difference
        self.counts[present] = total
