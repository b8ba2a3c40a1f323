"""The TailCalib estimator: fit on imbalanced features, then generate features for the small classes."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from longtail.calibration import inputs, sampling
from longtail.calibration.neighbours import ClassIndex
from longtail.calibration.parameters import Parameters
from longtail.calibration.plan import ClassFactors, Plan
from longtail.calibration.threads import ordered_map
from longtail.calibration.tukey import reject_negative, tukey_transform
from longtail.errors import InputError
from longtail.shards import WHOLE, Shard


class TailCalib(Parameters):
    """Balance a long-tailed feature set with features drawn from calibrated distributions.

    Every feature `x` of a small class is a seed. The distribution it borrows from the K classes whose means are
    nearest to it is normal with mean `(x + sum of their means) / (K + 1)` and covariance
    `(average of their covariances) + alpha + eps I`; `x`, means and covariances are of Tukey-transformed features.

    Differences from the authors' code: `alpha` is added to the diagonal unless `alpha_on="all"`; means and
    covariances are of the features before Tukey's transform only with `statistics="raw"`; a class of one sample,
    where theirs divides by zero, contributes its mean but no covariance; nothing is shuffled. Features are not
    normalised here: normalise before, and after.

    The input is referenced, not copied; it may be a read-only memory map. Results depend on `random_state` and the
    input only, not on the number of threads or on whether they are streamed. After `fit` they are settled: calling
    `iter_generated` twice gives the same features.

    Args:
        n_neighbors: K, the number of nearest classes, in `[1, number of classes]`, the own one not counted if excluded.
        own_class: `include` a seed's own class among its K, or `exclude` it.
        fill: How many features a class gets, as a share of what it lacks to the largest, >= 0; 1 makes all equal.
        tukey: Power of Tukey's transform; 1 leaves features as they are, 0 takes the logarithm.
        statistics: Class means and covariances of the `transformed` features, or of the `raw` ones.
        clip: Set negative entries of generated features to zero; not with logarithms.
        alpha: Spread added to the calibrated covariance, >= 0.
        alpha_on: `diagonal`, or `all` to add `alpha` to every entry as the authors' code does.
        eps: Variance added to the diagonal, >= 0.
        random_state: Seed, generator, or None for fresh entropy at each fit.

    Attributes:
        classes_: Labels in sorted order, `(C,)`.
        class_counts_: Rows of each class, `(C,)`.
        class_means_: Means of the features that `statistics` says, `(C, D)` float64.
        budget_: Features generated from each original row, `(N,)`.
        seeds_: Original rows with a budget, `(S,)`, by class.
        nearest_classes_: Labels of each seed's K nearest classes, `(S, K)`, nearest first.
        seed_index_: Position in `seeds_` (and in `nearest_classes_`) of each generated row's seed, `(M,)`.
        seed_rows_: Original row that each generated row came from, `(M,)`.
        generated_labels_: Label of each generated row, `(M,)`.
        n_features_in_: D.

    Source:
        Vigneswaran, Law, Balasubramanian, Tapaswi 2021, "Feature Generation for Long-tail Classification",
        arXiv 2111.05956, eq. 7 and 8.
    """

    def __init__(
        self,
        n_neighbors: int = 3,
        *,
        own_class: str = "include",
        fill: float = 1.0,
        tukey: float = 1.0,
        statistics: str = "transformed",
        clip: bool = False,
        alpha: float = 0.0,
        alpha_on: str = "diagonal",
        eps: float = 1e-4,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.own_class = own_class
        self.fill = fill
        self.tukey = tukey
        self.statistics = statistics
        self.clip = clip
        self.alpha = alpha
        self.alpha_on = alpha_on
        self.eps = eps
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Compute class statistics, the budget of each row, and the nearest classes of each seed.

        Args:
            X: Features, `(N, D)`, float32 or float64; NumPy array or torch tensor.
            y: Labels, `(N,)`, integers or text; NumPy array or torch tensor.

        Returns:
            The estimator itself.

        Raises:
            InputError: If a parameter, a feature or a label is not valid.
        """
        inputs.check_settings(self.get_params())
        features = inputs.as_features(X)
        self.classes_, codes = inputs.encode_labels(inputs.as_labels(y, len(features)))
        n_classes = len(self.classes_)
        inputs.check_neighbors(self.n_neighbors, n_classes, self.own_class)
        diagonal = self.alpha_on == "diagonal"
        isotropic, common = self.eps + self.alpha * diagonal, self.alpha * (not diagonal)
        self._calibration = sampling.Calibration(self.tukey, isotropic, common, self.clip)
        self._entropy = inputs.entropy(self.random_state)
        power = self.tukey if self.statistics == "transformed" else 1.0
        self._factors = ClassFactors(features, codes, n_classes, self.n_neighbors, isotropic, tukey=power)
        reject_negative(features, self.tukey)
        self.n_features_in_ = features.shape[1]
        self.class_counts_, self.class_means_ = self._factors.counts, self._factors.means
        members = list(map(self._factors.members, range(n_classes)))
        self.budget_ = sampling.share_budget(self.class_counts_, members, self._stream(0), self.fill)
        self.seeds_ = self._factors.order[self.budget_[self._factors.order] > 0]
        self._index = ClassIndex(self.class_means_, features.dtype)
        excluded = codes[self.seeds_] if self.own_class == "exclude" else None
        nearest = self._nearest(features, self.seeds_, excluded)
        self.nearest_classes_ = self.classes_[nearest]
        shares = self.budget_[self.seeds_]
        self._plan = Plan(self._factors, self.seeds_, shares, nearest, self._calibration, features, excluded)
        self.seed_index_ = self._plan.seeds_of_rows
        self.seed_rows_ = self.seeds_[self.seed_index_]
        self.generated_labels_ = self.classes_[codes[self.seed_rows_]]
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Return the original features and generated ones.

        Args:
            X: Features, `(N, D)`, float32 or float64; NumPy array or torch tensor.
            y: Labels, `(N,)`, integers or text; NumPy array or torch tensor.

        Returns:
            Features and labels, with `fill=1` of `C * n_1` rows, n_1 being the largest class's count: first the
            original rows in their order, Tukey-transformed (generated features live in that space), then the
            generated rows by class. The kind of array, dtype and device are those of the input.

        Raises:
            InputError: If a parameter, a feature or a label is not valid.
        """
        self.fit(X, y)
        original, labels, spans = self._factors.features, inputs.as_labels(y, len(self.budget_)), self._plan.spans
        resampled = np.empty((len(original) + len(self.seed_rows_), self.n_features_in_), original.dtype)
        resampled[: len(original)] = tukey_transform(original, self.tukey)
        generated = resampled[len(original) :]
        deque(ordered_map(lambda task: self._draw(task, generated[spans[task]]), len(spans)), maxlen=0)
        return inputs.like_input(resampled, X), inputs.like_input(np.concatenate((labels, self.generated_labels_)), y)

    def generated_span(self, shard: Shard = WHOLE) -> slice:
        """Return which of the generated rows a shard has: those of consecutive classes, cut where a task ends."""
        self._check_fitted()
        return self._plan.rows(shard)

    def iter_generated(self, shard: Shard = WHOLE) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield the generated rows block by block, for sets larger than memory.

        The rows are the ones `fit_resample` appends, in the same order. A few blocks of at most 32 MB are alive at
        once, computed ahead while the caller writes; until the iterator ends, matrix products run on one thread.

        Args:
            shard: Which part of the rows, see `generated_span`; they are the same whoever draws the others.

        Yields:
            Rows `(B, D)`, their labels `(B,)`, and the original row that each came from `(B,)`.
        """
        self._check_fitted()
        tasks, dtype = self._plan.tasks(shard), self._factors.features.dtype
        spans = [self._plan.spans[task] for task in tasks]
        sizes = [(span.stop - span.start, self.n_features_in_) for span in spans]
        blocks = ordered_map(lambda place: self._draw(tasks[place], np.empty(sizes[place], dtype)), len(tasks))
        for span, rows in zip(spans, blocks, strict=True):
            yield rows, self.generated_labels_[span], self.seed_rows_[span]

    def transform(self, X: Any) -> Any:
        """Apply Tukey's transform: what validation and test features need before they meet generated ones.

        Args:
            X: Features, `(N, D)`, float32 or float64; NumPy array or torch tensor.

        Returns:
            The transformed features, in the kind of array of the input.

        Raises:
            InputError: If a feature is not valid.
        """
        inputs.check_settings(self.get_params())
        features = inputs.as_features(X)
        inputs.check_finite(features)
        return inputs.like_input(tukey_transform(features, self.tukey), X)

    def nearest_classes(self, X: Any, y: Any = None) -> np.ndarray:
        """Return the labels of the K classes nearest to any rows.

        Args:
            X: Features before Tukey's transform, `(N, D)`.
            y: Labels of the rows, `(N,)`; needed to exclude their own classes, and otherwise unused.

        Returns:
            Labels, `(N, K)`, nearest first.

        Raises:
            InputError: If a feature is not valid, or a label is missing or unknown.
        """
        features = self._as_fitted(X)
        nearest = self._nearest(features, np.arange(len(features)), self._excluded(y, len(features)))
        labels: np.ndarray = self.classes_[nearest]
        return labels

    def calibrated_distribution(self, x: Any, label: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the distribution that features generated from one row follow, in closed form, before any clipping.

        Args:
            x: One feature row before Tukey's transform, `(D,)`.
            label: Its class; needed to exclude that, and otherwise unused.

        Returns:
            Mean `(D,)` and covariance `(D, D)`, float64.

        Raises:
            InputError: If a feature is not valid, or the label is missing or unknown.
        """
        features, nearest, excluded = self._one(x, label)
        seed = tukey_transform(features[0].astype(np.float64), self.tukey)
        mean = (seed + self.class_means_[nearest[0]].sum(axis=0)) / (self.n_neighbors + 1)
        entries = sampling.make_recipe(nearest, self.class_means_, self.class_counts_, 0.0, excluded).entries[0]
        covariance = self._factors.average_covariance(entries[entries >= 0]) + self._calibration.common
        return mean, covariance + self._calibration.isotropic * np.eye(len(mean))

    def sample(self, x: Any, n: int, rng: np.random.Generator, label: Any = None) -> np.ndarray:
        """Draw features from one row's calibrated distribution.

        Args:
            x: One feature row before Tukey's transform, `(D,)`.
            n: Number of draws.
            rng: Source of randomness.
            label: The row's class; needed to exclude that, and otherwise unused.

        Returns:
            `(n, D)` in the dtype of the fitted features.

        Raises:
            InputError: If a feature is not valid, or the label is missing or unknown.
        """
        features, nearest, excluded = self._one(x, label)
        seed, shares = np.zeros(1, np.int64), np.array([n])
        plan = Plan(self._factors, seed, shares, nearest, self._calibration, features, excluded)
        rows = np.empty((n, self.n_features_in_), features.dtype)
        for task, span in enumerate(plan.spans):
            plan.fill(task, rng, rows[span])
        return rows

    def _draw(self, task: int, out: np.ndarray) -> np.ndarray:
        return self._plan.fill(task, self._stream(1, task), out)

    def _stream(self, *key: int) -> np.random.Generator:
        """Return the generator of one piece of work; SFC64 is NumPy's fastest."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self._entropy, spawn_key=key)))

    def _nearest(self, features: np.ndarray, rows: np.ndarray, excluded: np.ndarray | None) -> np.ndarray:
        """Return the nearest classes (S, K) of rows (S,), without one excluded class (S,) each."""
        size = self._index.chunk_rows

        def search(task: int) -> np.ndarray:
            span = slice(task * size, (task + 1) * size)
            chunk = tukey_transform(features[rows[span]], self.tukey)
            return self._index.nearest(chunk, self.n_neighbors, None if excluded is None else excluded[span])

        found = list(ordered_map(search, -(-len(rows) // size)))
        return np.concatenate(found) if found else np.empty((0, self.n_neighbors), np.int64)

    def _one(self, x: Any, label: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return one row (1, D), its nearest classes (1, K), and the class (1,) that is excluded if any is."""
        features = self._as_fitted(x[None])
        excluded = self._excluded(None if label is None else np.asarray([label]), 1)
        return features, self._nearest(features, np.zeros(1, np.int64), excluded), excluded

    def _excluded(self, y: Any, n_rows: int) -> np.ndarray | None:
        """Return the index of the class that may not calibrate each row, if any is excluded."""
        if self.own_class == "include":
            return None
        if y is None:
            raise InputError("own_class is 'exclude': give the rows' labels too")
        return inputs.known_codes(inputs.as_labels(y, n_rows), self.classes_)

    def _as_fitted(self, X: Any) -> np.ndarray:
        """Return rows as checked features in the dtype that the estimator was fitted on."""
        self._check_fitted()
        features = inputs.as_features(X)
        inputs.check_finite(features)
        if features.shape[1] != self.n_features_in_:
            raise InputError(f"X has {features.shape[1]} features and fit saw {self.n_features_in_}: give as many")
        return features.astype(self._factors.features.dtype, copy=False)

    def _check_fitted(self) -> None:
        if not hasattr(self, "_plan"):
            raise RuntimeError("this TailCalib is not fitted: call fit or fit_resample first")
