"""Nearest classes of feature rows: exact, in chunks, without a table of all distances."""

import numpy as np

_TABLE_BYTES = 1 << 23
"""Size of one chunk's table of distances: it should stay in the processor's cache."""


class ClassIndex:
    """Class means, prepared for exact Euclidean nearest-class search.

    Distances come from one matrix product in the features' own precision, on features centred at the mean of
    the class means. Where the gap between the last neighbour and the first class left out is within that
    product's rounding error, the row is searched again in float64, so the set of classes is exact.
    """

    def __init__(self, means: np.ndarray, dtype: np.dtype) -> None:
        """Prepare the means.

        Args:
            means: Class means, `(C, D)`, float64.
            dtype: Precision of the rows that will be searched, float32 or float64.
        """
        self._centre = means.mean(axis=0).astype(dtype)
        self._means = means - self._centre
        squares = np.einsum("cd,cd->c", self._means, self._means)
        self._squares = squares.astype(dtype)
        self._factors = np.ascontiguousarray((-2 * self._means).astype(dtype))
        self._largest = float(np.sqrt(squares.max()))
        # A dot product of D terms errs by about sqrt(D) roundings; 4 is a margin.
        self._tolerance = 4 * float(np.finfo(dtype).eps) * np.sqrt(means.shape[1])

    @property
    def chunk_rows(self) -> int:
        """How many rows to search at once."""
        return max(64, min(2048, _TABLE_BYTES // int(self._squares.nbytes)))

    def nearest(self, X: np.ndarray, n_neighbors: int, excluded: np.ndarray | None = None) -> np.ndarray:
        """Return the classes whose means are nearest to each row.

        Args:
            X: Feature rows, `(B, D)`; the caller bounds `B` (see `chunk_rows`).
            n_neighbors: Number of classes to return, in `[1, C]`; less than C if classes are excluded.
            excluded: One class for each row that is never returned, `(B,)`, or None.

        Returns:
            Class indices, `(B, n_neighbors)` int64, nearest first.
        """
        rows = X - self._centre
        distances = rows @ self._factors.T
        distances += self._squares
        if excluded is not None:
            distances[np.arange(len(rows)), excluded] = np.inf
        lengths = np.sqrt(np.einsum("bd,bd->b", rows, rows))
        nearest, gap = _smallest(distances, n_neighbors)
        for row in np.flatnonzero(gap <= self._tolerance * (lengths + self._largest) ** 2):
            exact = np.square(self._means - rows[row]).sum(axis=1)
            if excluded is not None:
                exact[excluded[row]] = np.inf
            nearest[row] = np.argsort(exact, kind="stable")[:n_neighbors]
        return nearest


def _smallest(distances: np.ndarray, n_smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of each row's smallest values in order, and the gap to the next; destroys its input."""
    rows = np.arange(len(distances))
    nearest = np.empty((len(distances), n_smallest), np.int64)
    last = np.empty(0)
    for rank in range(n_smallest):
        # One vectorised pass for each neighbour is several times faster than argpartition at the usual K <= 5.
        nearest[:, rank] = distances.argmin(axis=1)
        last = distances[rows, nearest[:, rank]]
        distances[rows, nearest[:, rank]] = np.inf
    return nearest, distances.min(axis=1) - last
