"""The work of generating features: class factors, and tasks of fixed size that draw from them."""

from collections.abc import Iterable

import numpy as np

from longtail.calibration.inputs import check_finite
from longtail.calibration.sampling import Calibration, add_correlated, add_noise, full_factors, make_recipe, thin_factor
from longtail.calibration.statistics import group_rows
from longtail.calibration.threads import ordered_map
from longtail.calibration.tukey import reject_negative, tukey_power, tukey_transform
from longtail.errors import InputError
from longtail.shards import Shard

_KEPT_BYTES = 1 << 26
"""Thin factors are kept between tasks if all of them fit into this; else each task rebuilds the ones it needs."""

_TASK_ROWS, _TASK_BYTES = 4096, 1 << 25
"""A task's largest number of rows and bytes; part of what a seed means, so never a setting."""


class ClassFactors:
    """Counts, means and covariance factors of the classes of one feature set, which is referenced, not copied."""

    def __init__(
        self,
        features: np.ndarray,
        codes: np.ndarray,
        n_classes: int,
        n_neighbors: int,
        isotropic: float,
        *,
        tukey: float = 1.0,
    ) -> None:
        """Compute counts and means.

        Args:
            features: `(N, D)`.
            codes: Class of each row, `(N,)`, in `[0, n_classes)`; every class has a row.
            n_classes: Number of classes C.
            n_neighbors: K, by which a factor's covariance is divided.
            isotropic: Variance that a folded factor carries.
            tukey: Power of the transform that means and covariances are of; classes are transformed one at a time.

        Raises:
            InputError: If a feature is NaN or infinite, or becomes so by the transform.
        """
        self.features = features
        self._n_neighbors, self._isotropic, self._tukey = n_neighbors, isotropic, tukey
        self.order, self._starts = group_rows(codes, n_classes)
        self.counts = np.diff(self._starts)
        self.means = np.empty((n_classes, features.shape[1]))
        self._kept: dict[int, np.ndarray] = {}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for index in range(n_classes):
                np.add.reduce(self.rows(index), axis=0, dtype=np.float64, out=self.means[index])
        self.means /= self.counts[:, None]
        if not np.isfinite(self.means).all():
            check_finite(features)
            reject_negative(features, tukey)
            raise InputError(f"features are too large for {features.dtype} when tukey is {tukey:g}: scale them down")

    def members(self, index: int) -> np.ndarray:
        """Return the row numbers of one class in increasing order."""
        return self.order[self._starts[index] : self._starts[index + 1]]

    def rows(self, index: int) -> np.ndarray:
        """Return the transformed features of one class, `(n, D)`: a view if they lie together as they are."""
        members = self.members(index)
        together = members[-1] - members[0] == len(members) - 1
        return tukey_power(self.features[slice(members[0], members[-1] + 1) if together else members], self._tukey)

    def average_covariance(self, classes: np.ndarray) -> np.ndarray:
        """Return the average of the unbiased covariances of classes of two or more rows, `(D, D)` float64."""
        average = np.zeros((self.features.shape[1],) * 2)
        for index in classes:
            centred = self.rows(index) - self.means[index]
            average += centred.T @ centred / ((self.counts[index] - 1) * len(classes))
        return average

    def factor(self, entry: int) -> np.ndarray:
        """Return the factor of a recipe's entry: `F.T @ F` is the class covariance over K, plus folded noise.

        Args:
            entry: Class c, or C + c for class c with isotropic noise folded in.

        Returns:
            `(min(n, D), D)`.
        """
        kept = self._kept.get(entry)
        return self._thin(entry) if kept is None else kept

    def keep(self, entries: Iterable[int]) -> None:
        """Compute the factors that are worth keeping: all full ones, and the thin ones if they are small together."""
        n_features = self.features.shape[1]
        by_class: dict[int, list[int]] = {}
        for entry in entries:
            by_class.setdefault(entry % len(self.counts), []).append(entry)
        full = [index for index in by_class if self.counts[index] > n_features]
        for found in ordered_map(lambda task: self._full(full[task], by_class[full[task]]), len(full)):
            self._kept.update(found)
        thin = [index for index in by_class if self.counts[index] <= n_features]
        if self.counts[thin].sum() * n_features * self.features.itemsize <= _KEPT_BYTES:
            self._kept.update((index, self._thin(index)) for index in thin)

    def _share(self, index: int) -> float:
        return 1.0 / (self._n_neighbors * (int(self.counts[index]) - 1))

    def _thin(self, index: int) -> np.ndarray:
        return thin_factor(self.rows(index), self.means[index], self._share(index))

    def _full(self, index: int, entries: list[int]) -> dict[int, np.ndarray]:
        """Return a class's factors without and with the isotropic noise, as far as the entries ask for them."""
        variances = [self._isotropic if entry >= len(self.counts) else 0.0 for entry in entries]
        factors = full_factors(self.rows(index), self.means[index], self._share(index), variances)
        return dict(zip(entries, factors, strict=True))


class Plan:
    """Generated rows, cut into tasks that can be computed in any order."""

    def __init__(
        self,
        factors: ClassFactors,
        seeds: np.ndarray,
        shares: np.ndarray,
        neighbours: np.ndarray,
        calibration: Calibration,
        features: np.ndarray,
        excluded: np.ndarray | None = None,
    ) -> None:
        """Lay out the rows.

        Args:
            factors: The classes.
            seeds: Row numbers of the seeds in `features`, `(S,)`.
            shares: Rows generated from each seed, `(S,)`.
            neighbours: Nearest classes of each seed, `(S, K)`.
            calibration: Tukey's power and the variances that are added.
            features: Rows that the seeds are taken from, before Tukey's transform, `(N, D)`.
            excluded: A class for each seed that may not lend to it, `(S,)`, or None.
        """
        self._factors, self._features, self._calibration = factors, features, calibration
        self._seeds, self._neighbours = seeds, neighbours
        self._recipe = make_recipe(neighbours, factors.means, factors.counts, calibration.isotropic, excluded)
        self._means = factors.means.astype(features.dtype)
        self.seeds_of_rows = np.repeat(np.arange(len(seeds)), shares)
        size = max(1, min(_TASK_ROWS, _TASK_BYTES // (neighbours.shape[1] * self._means[0].nbytes)))
        n_rows = len(self.seeds_of_rows)
        self.spans = [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
        factors.keep(np.unique(self._recipe.entries[self._recipe.entries >= 0]).tolist())

    def tasks(self, shard: Shard) -> range:
        """Return a shard's tasks."""
        return shard.pieces(len(self.spans))

    def rows(self, shard: Shard) -> slice:
        """Return the rows of a shard's tasks."""
        spans = [self.spans[task] for task in self.tasks(shard)]
        return slice(spans[0].start, spans[-1].stop) if spans else slice(0, 0)

    def fill(self, task: int, rng: np.random.Generator, out: np.ndarray) -> np.ndarray:
        """Compute the rows of one task.

        Args:
            task: Index into `spans`.
            rng: This task's own generator.
            out: Where the rows go, `(B, D)`, B being the length of the task's span; overwritten.

        Returns:
            `out`.
        """
        seeds = self.seeds_of_rows[self.spans[task]]
        first = int(seeds[0])
        # mode="clip" because NumPy buffers the output of take in its default mode.
        np.take(self._calibrated_means(first, int(seeds[-1]) + 1), seeds - first, axis=0, out=out, mode="clip")
        add_correlated(out, self._recipe.entries[seeds], self._recipe.scales[seeds], self._factors.factor, rng)
        add_noise(out, self._recipe.noisy[seeds], self._calibration.isotropic, self._calibration.common, rng)
        if self._calibration.clip:
            np.maximum(out, 0, out=out)
        return out

    def _calibrated_means(self, first: int, last: int) -> np.ndarray:
        means = tukey_transform(self._features[self._seeds[first:last]], self._calibration.tukey)
        for neighbours in self._neighbours[first:last].T:
            means += self._means[neighbours]
        means *= means.dtype.type(1 / (self._neighbours.shape[1] + 1))
        return means
