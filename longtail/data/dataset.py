"""The data set artifact: chosen images of each split with their labels, small ones decoded, large ones by name."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import artifact_digest, new_artifact, open_artifact
from longtail.config import DataConfig, parse, to_dict
from longtail.data.digest import source_digest
from longtail.data.imbalance import choose, choose_validation, subset_sha256
from longtail.data.object_store import is_url
from longtail.data.problems import known_labels, label_problems
from longtail.data.profiles import class_counts
from longtail.data.scan import PACKED_SIDE, Scan, drop_colour, read_fitted, sample_statistics, scan
from longtail.data.sources import load_source
from longtail.data.tables import Image, ImageTable, Source
from longtail.errors import InputError

Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]

SCHEMA, SCHEMA_VERSION = "longtail.dataset", 1
CHOICE_STREAM, VALIDATION_STREAM = 1, 2
STATISTICS_IMAGES = 5000


def build_dataset(config: DataConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Choose a long-tailed training set from a source and write it as an artifact.

    Every image that goes in is decoded once, so a corrupt one is found now and not in training. The test split is
    the source's, whole; validation images come from the source's training images.

    Args:
        config: Source, profile and seed.
        out: Folder of the artifact; it appears when it is complete.
        progress: Called with the images done and the images in all.

    Returns:
        The manifest's fields.

    Raises:
        InputError: If the source is missing or damaged (all corrupt images, unknown labels and empty classes are
            named together), a class has too few images, or images differ in size without `config.image_size`.
    """
    source = load_source(config)
    _check_labels(source, config.image_size)
    splits = _choose_splits(source, config)
    fields: dict[str, Any] = {
        "name": source.name,
        "source": config.source,
        "class_names": list(source.class_names),
        "profile": config.profile,
        "imbalance_factor": config.imbalance_factor,
        "seed": config.seed,
        "source_digest": source_digest(config),
    }
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        for name, (table, ids) in splits.items():
            (folder / name).mkdir()
            np.save(folder / name / "ids.npy", ids)
            np.save(folder / name / "labels.npy", table.labels[ids])
        fields |= _store_images(source.name, splits, config, folder, progress)
        train, ids = splits["train"]
        counts = np.bincount(train.labels[ids], minlength=len(source.class_names))
        fields |= {
            "train_counts": counts.tolist(),
            "subset_sha256": subset_sha256(ids),
            "splits": {name: {"images": len(ids), "source_images": len(t.labels)} for name, (t, ids) in splits.items()},
        }
        if fields["storage"] == "lazy":
            fields["origin"] = to_dict(config) | {"path": _absolute(config.path)}
        split = Split(folder / "train", fields, "train")
        fields["mean"], fields["std"] = sample_statistics(split.images, len(split), STATISTICS_IMAGES)
    return fields


class Split:
    """The images and labels of one split of a `Dataset`."""

    def __init__(self, folder: Path, fields: dict[str, Any], name: str) -> None:
        self.labels: Rows = np.load(folder / "labels.npy", allow_pickle=False)
        """Class of each image, shape (N,) int64."""
        self.ids: Rows = np.load(folder / "ids.npy", allow_pickle=False)
        """Row of each image in the source's split, shape (N,) int64."""
        self.packed: np.memmap | None = None
        """All images, shape (N, H, W, C) uint8, or None if they are decoded from the source when asked for."""
        if fields["storage"] == "packed":
            self.packed = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        self._fields = fields
        self._name = name

    def __len__(self) -> int:
        return len(self.ids)

    def images(self, indices: NDArray[np.integer] | slice) -> Image:
        """Return images by position in the split.

        Args:
            indices: Positions in [0, N), or a slice of them.

        Returns:
            New array of shape (n, H, W, C), uint8.

        Raises:
            InputError: If images come from the source and it was changed or cannot be read.
        """
        if self.packed is not None:
            return np.array(self.packed[indices])
        ids = self.ids[indices]
        size = self._fields["origin"]["image_size"]
        result = np.empty((len(ids), *self._fields["image_shape"]), dtype=np.uint8)

        def decode_into(position: int) -> None:
            image = read_fitted(self._table, int(ids[position]), size)
            if image.shape[:2] != result.shape[1:3]:
                raise InputError(
                    f"{self._table.names(int(ids[position]))!r} changed its size: build the data set again"
                )
            result[position] = image

        for _ in self._pool.map(decode_into, range(len(ids))):
            pass
        return result

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="images")

    @cached_property
    def _table(self) -> ImageTable:
        """Load the source again and check that it still has the same labels in the same places."""
        origin = parse(DataConfig, self._fields["origin"], "origin")
        source = load_source(origin)
        table = source.test if self._name == "test" else source.train
        same = len(table.labels) == self._fields["splits"][self._name]["source_images"]
        if not same or not np.array_equal(table.labels[self.ids], self.labels):
            raise InputError(f"{origin.path} changed since the data set was built from it: build the data set again")
        return table


class Dataset:
    """A long-tailed data set that was built before."""

    def __init__(self, path: Path, fields: dict[str, Any]) -> None:
        self.path = path
        self.fields = fields
        self.name: str = fields["name"]
        self.class_names: tuple[str, ...] = tuple(fields["class_names"])
        self.train_counts: Rows = np.array(fields["train_counts"], dtype=np.int64)
        """Training images of each class, shape (C,)."""
        self.image_shape: tuple[int, int, int] = tuple(fields["image_shape"])
        """Height, width and channels."""
        self.mean: tuple[float, ...] = tuple(fields["mean"])
        self.std: tuple[float, ...] = tuple(fields["std"])
        """Per channel, of training images in [0, 1]."""
        self.subset_sha256: str = fields["subset_sha256"]
        self.digest: str = artifact_digest(path)

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Return the data set in an artifact of `build_dataset`.

        Raises:
            InputError: If it is not whole, or a file does not match its digest.
        """
        return cls(path, open_artifact(path, SCHEMA, SCHEMA_VERSION))

    def has_split(self, name: str) -> bool:
        """Return whether there is such a split; `train` and `test` always are."""
        return name in self.fields["splits"]

    def split(self, name: str) -> Split:
        """Return a split: `train`, `validation` or `test`.

        Raises:
            InputError: If there is no such split.
        """
        if not self.has_split(name):
            raise InputError(f"{self.path} has no split {name!r}: choose from {', '.join(self.fields['splits'])}")
        return Split(self.path / name, self.fields, name)


def _check_labels(source: Source, image_size: int) -> None:
    """Raise for unknown labels and empty classes, together with the corrupt images of the whole source."""
    if not source.class_names:
        raise InputError(f"{source.name} has no classes: its training split has no images")
    problems = label_problems(source)
    if problems:
        for table in (source.train, source.test):
            rows = np.flatnonzero(known_labels(table, len(source.class_names)))
            problems.corrupt += scan(table, rows, image_size).corrupt
    problems.check(source.name)


def _choose_splits(source: Source, config: DataConfig) -> dict[str, tuple[ImageTable, Rows]]:
    labels = source.train.labels
    available = np.bincount(labels, minlength=len(source.class_names))
    largest = config.largest_class
    if config.validation == "unchosen" and not largest and len(available):
        largest = max(0, int(available.min()) - config.validation_per_class)  # so that enough are left for it
    counts = class_counts(config.profile, available, config.imbalance_factor, largest, class_names=source.class_names)
    chosen = choose(labels, counts, np.random.default_rng([config.seed, CHOICE_STREAM]))
    train, validation = choose_validation(
        labels,
        chosen,
        config.validation,
        config.validation_per_class,
        np.random.default_rng([config.seed, VALIDATION_STREAM]),
        class_names=source.class_names,
    )
    splits = {"train": (source.train, train), "test": (source.test, np.arange(len(source.test.labels)))}
    if len(validation):
        splits["validation"] = (source.train, validation)
    return splits


def _store_images(
    name: str,
    splits: dict[str, tuple[ImageTable, Rows]],
    config: DataConfig,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Return the manifest's fields about the images after decoding all and storing small ones."""
    total = sum(len(ids) for _, ids in splits.values())
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    found = Scan()
    for split, (table, ids) in splits.items():
        found.add(scan(table, ids, config.image_size, folder / split / "images.npy", advance))
    found.check(name)
    height, width = found.single_size()
    packed = max(height, width) <= PACKED_SIDE
    if packed and not found.colour:
        for split in splits:
            drop_colour(folder / split / "images.npy")
    shape = [height, width, 3 if found.colour else 1]
    return {"image_shape": shape, "storage": "packed" if packed else "lazy"}


def _absolute(path: str) -> str:
    return path if is_url(path) or not path else str(Path(path).resolve())
