"""Generated features as an artifact, streamed to disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import new_artifact, open_artifact, write_array
from longtail.calibration.estimator import TailCalib
from longtail.calibration.tukey import tukey_transform
from longtail.config import CalibrationConfig, parse
from longtail.features import Features
from longtail.shards import WHOLE, Shard, join_array, new_part, open_shards

SCHEMA = "longtail.samples"
SCHEMA_VERSION = 1

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """A generated set, memory-mapped, and how it was made.

    Attributes:
        rows: (M, D) float32 generated features.
        labels: (M,) int64 their classes.
        seed_rows: (M,) int64 the training row each was generated from.
        nearest: (M, K) int64 the classes that calibrated it.
        config: The sampler's settings.
        normalise: Whether features are L2-normalised before anything else.
        balanced_size: Training rows and generated ones; all classes are equal among them if `config.fill` is 1.
    """

    rows: Floats
    labels: NDArray[np.int64]
    seed_rows: NDArray[np.int64]
    nearest: NDArray[np.int64]
    config: CalibrationConfig
    normalise: bool
    balanced_size: int

    @classmethod
    def open(cls, path: Path) -> "Samples":
        """Return the artifact after checking its digests.

        Raises:
            InputError: If it is not a whole samples artifact.
        """
        manifest = open_artifact(path, SCHEMA, SCHEMA_VERSION)
        arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
        return cls(
            **arrays,
            config=parse(CalibrationConfig, manifest["config"], "calibration"),
            normalise=bool(manifest["normalise"]),
            balanced_size=int(manifest["balanced_size"]),
        )

    def transform(self, features: Floats) -> Floats:
        """Return real features (N, D) in the space of the generated ones: L2-normalised if they are, then Tukey's."""
        return tukey_transform(self.scaled(features), self.config.tukey)

    def scaled(self, features: Floats) -> Floats:
        """Return a copy of real features (N, D), L2-normalised if the generated ones are."""
        return _normalised(features) if self.normalise else np.array(features)


_ARRAYS = ("rows", "labels", "seed_rows", "nearest")


def write_samples(
    features: Features,
    view: int,
    config: CalibrationConfig,
    normalise: bool,
    out: Path,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    shard: Shard = WHOLE,
) -> None:
    """Generate features for the small classes, and write them.

    Args:
        features: The frozen backbone's features.
        view: Which view of the training split to calibrate.
        config: The sampler's settings.
        normalise: L2-normalise the features first, as for a cosine head.
        out: Where the artifact appears.
        seed: Of the draws.
        progress: Called with rows done and rows in all.
        shard: Which part of the rows, for `merge_samples` alone; each fits to all features, as any class may lend.

    Raises:
        InputError: If features are not finite or a setting does not fit them.
    """
    X, settings = features.train(view), _settings(config)
    sampler = TailCalib(**settings, random_state=seed)
    sampler.fit(_normalised(X) if normalise else X, features.labels("train"))
    span = sampler.generated_span(shard)
    fields = {
        "config": settings,
        "normalise": normalise,
        "view": view,
        "balanced_size": len(X) + len(sampler.generated_labels_),
        "class_names": list(features.class_names),
        "features_digest": features.digest,
    }
    with new_part(out, SCHEMA, SCHEMA_VERSION, fields, shard) as folder:
        np.save(folder / "labels.npy", sampler.generated_labels_[span])
        np.save(folder / "seed_rows.npy", sampler.seed_rows_[span])
        np.save(folder / "nearest.npy", sampler.nearest_classes_[sampler.seed_index_[span]])
        shape = (span.stop - span.start, X.shape[1])
        write_array(folder / "rows.npy", shape, np.float32, _blocks(sampler, shard, progress))


def merge_samples(parts: Sequence[Path], out: Path) -> None:
    """Write the samples that `write_samples` would have written without shards.

    Args:
        parts: The shards' artifacts, in any order.
        out: Where the artifact appears.

    Raises:
        InputError: If a shard is missing, is there twice, or is of other samples.
    """
    fields, folders = open_shards(parts, SCHEMA, SCHEMA_VERSION)
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        for name in _ARRAYS:
            join_array(folders, f"{name}.npy", folder / f"{name}.npy")


def _settings(config: CalibrationConfig) -> dict[str, Any]:
    """Return the sampler's own settings: the rows do not depend on how many tasks draw them."""
    return {name: value for name, value in asdict(config).items() if name != "shards"}


def _blocks(sampler: TailCalib, shard: Shard, progress: Callable[[int, int], None] | None) -> Iterator[Floats]:
    span, done = sampler.generated_span(shard), 0
    for block, _, _ in sampler.iter_generated(shard):
        yield block
        done += len(block)
        if progress is not None:
            progress(done, span.stop - span.start)


def _normalised(features: Floats) -> Floats:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.finfo(np.float32).tiny)  # type: ignore[no-any-return]
