"""The data set artifact: chosen images of each split with their labels, small ones decoded, large ones by name."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import artifact_digest, new_artifact, open_artifact
from longtail.config import DataConfig, parse, to_dict
from longtail.data.crops import centre_crop, draw_crops, random_crop
from longtail.data.digest import source_digest
from longtail.data.imbalance import Rows
from longtail.data.object_store import is_url
from longtail.data.problems import known_labels, label_problems
from longtail.data.scan import read_fitted, sample_statistics, scan
from longtail.data.sources import load_source
from longtail.data.splits import choose_splits
from longtail.data.storage import Progress, check_crop, store_images, write_rows
from longtail.data.tables import Image, ImageTable, Source
from longtail.errors import InputError

logger = logging.getLogger(__name__)

SCHEMA, SCHEMA_VERSION = "longtail.dataset", 2
STATISTICS_IMAGES = 5000


def build_dataset(config: DataConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Choose a long-tailed training set from a source and write it as an artifact.

    Every image that goes in is decoded once, so a corrupt one is found now and not in training. The test split is the
    source's, whole, or held out of its training images where it has none.

    Args:
        config: Source, profile and seeds.
        out: Folder of the artifact; it appears when it is complete.
        progress: Called with the images done and the images in all.

    Returns:
        The manifest's fields.

    Raises:
        InputError: If the source is missing or damaged (all corrupt images, unknown labels and empty classes are
            named together), a class has too few images, or images differ in size without `config.image_size`.
    """
    source = load_source(config)
    if not source.class_names:
        raise InputError(f"{source.name} has no classes: its training split has no images")
    if source.remark:
        logger.warning("%s", source.remark)
    if config.image_size:
        check_crop(config.crop_size, config.image_size)
    _check_labels(source, config.image_size)
    splits = choose_splits(source, config)
    fields: dict[str, Any] = {
        "name": source.name,
        "source": config.source,
        "class_names": list(source.class_names),
        "profile": config.profile,
        "imbalance_factor": config.imbalance_factor,
        "seed": config.seed,
        "source_digest": source_digest(config),
        "origin": to_dict(config) | {"path": _absolute(config.path)},
        "held_out": source.test is None,
        "remark": source.remark,
    }
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        fields |= write_rows(source, splits, folder)
        fields |= store_images(source, splits, config, folder, progress)
        train = Split(folder / "train", fields, "train")
        fields["mean"], fields["std"] = sample_statistics(train.images, len(train), STATISTICS_IMAGES)
    return fields


class Split:
    """The images and labels of one split of a `Dataset`."""

    def __init__(self, folder: Path, fields: dict[str, Any], name: str) -> None:
        self.labels: Rows = np.load(folder / "labels.npy", allow_pickle=False)
        """Class of each image, shape (N,) int64."""
        self.ids: Rows = np.load(folder / "ids.npy", allow_pickle=False)
        """Row of each image in the source's table, shape (N,) int64."""
        self.crop_size: int = fields["origin"]["crop_size"]
        """Side of random crops for training; 0 if images are used whole."""
        self.packed: Image | None = None
        """All images as they are evaluated, shape (N, H, W, C) uint8, or None if they are decoded when asked for."""
        self._stored: Image | None = None
        if fields["storage"] == "packed":
            self._stored = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            self.packed = centre_crop(self._stored, self.crop_size)
        self.image_shape: tuple[int, int, int] = tuple(fields["image_shape"])
        """Height, width and channels of what is evaluated."""
        self._fields = fields
        self._name = name

    def __len__(self) -> int:
        return len(self.ids)

    def images(self, indices: NDArray[np.integer] | slice) -> Image:
        """Return images by position in the split, as they are evaluated.

        Args:
            indices: Positions in [0, N), or a slice of them.

        Returns:
            New array of shape (n, H, W, C), uint8.

        Raises:
            InputError: If images come from the source and it was changed or cannot be read.
        """
        if self.packed is not None:
            return np.array(self.packed[indices])
        rows, size = self.ids[indices], self._fields["origin"]["image_size"]

        def decode(position: int) -> Image:
            row = int(rows[position])
            image = centre_crop(read_fitted(self._table, row, size), self.crop_size)
            if list(image.shape[:2]) != self._fields["image_shape"][:2]:
                raise InputError(f"{self._table.names(row)!r} changed its size: build the data set again")
            return image

        return self._stack(len(rows), decode)

    def random_crops(self, indices: NDArray[np.integer] | slice, generator: np.random.Generator) -> Image:
        """Return crops of random place, area and aspect, of the original images if these are large.

        Small images are stored resized, and are cropped as they are stored.

        Args:
            indices: Positions in [0, N), or a slice of them.
            generator: Decides all crops before the first image is read.

        Returns:
            New array of shape (n, crop_size, crop_size, C), uint8.

        Raises:
            InputError: If the data set has no crop size, or its source was changed or cannot be read.
        """
        if not self.crop_size:
            raise InputError("the data set was built without crops: set data.crop_size and build it again")
        positions = np.arange(len(self))[indices]
        draws = draw_crops(len(positions), generator)

        def crop(position: int) -> Image:
            row = int(positions[position])
            stored = None if self._stored is None else self._stored[row]
            image = read_fitted(self._table, int(self.ids[row]), 0) if stored is None else stored
            return random_crop(image, draws[position], self.crop_size)

        return self._stack(len(positions), crop)

    def _stack(self, count: int, read: Callable[[int], Image]) -> Image:
        """Return `count` images that several threads read, shape (count, H, W, C); grey ones become colour in it."""
        result = np.empty((count, *self._fields["image_shape"]), dtype=np.uint8)

        def put(position: int) -> None:
            result[position] = read(position)

        for _ in self._pool.map(put, range(count)):
            pass
        return result

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="images")

    @cached_property
    def _table(self) -> ImageTable:
        """Load the source again and check that it still has the same labels in the same places."""
        origin, known = parse(DataConfig, self._fields["origin"], "origin"), self._fields["splits"][self._name]
        table = load_source(origin).tables.get(known["table"])
        same = table is not None and len(table.labels) == known["source_images"]
        if table is None or not same or not np.array_equal(table.labels[self.ids], self.labels):
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
        """Height, width and channels of what is evaluated."""
        self.crop_size: int = fields["origin"]["crop_size"]
        """Side of random crops for training; 0 if images are used whole."""
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
        return Split(self.path / self.fields["splits"][name]["folder"], self.fields, name)


def _check_labels(source: Source, image_size: int) -> None:
    """Raise for unknown labels and empty classes, together with the corrupt images of the whole source."""
    problems = label_problems(source)
    if problems:
        for table in source.tables.values():
            rows = np.flatnonzero(known_labels(table, len(source.class_names)))
            problems.corrupt += scan(table, rows, image_size).corrupt
    problems.check(source.name)


def _absolute(path: str) -> str:
    return path if is_url(path) or not path else str(Path(path).resolve())
