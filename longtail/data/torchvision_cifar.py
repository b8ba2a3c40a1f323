"""CIFAR-10 and CIFAR-100 as torchvision reads them, downloaded when they are not there."""

from pathlib import Path
from typing import Any

import numpy as np

from longtail.config import DataConfig
from longtail.data import object_store
from longtail.data.cache import cache_folder
from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


def load(config: DataConfig) -> Source:
    """Return CIFAR from `config.path`, or from the cache folder without one; a missing data set is downloaded.

    Raises:
        InputError: If the path is not local, or the download fails.
    """
    train = _open(config, train=True)
    test = _open(config, train=False)
    return Source(config.source, tuple(train.classes), _table(train, "train"), _table(test, "test"))


def root(config: DataConfig) -> Path:
    """Return the folder that holds, or will hold, torchvision's own folder."""
    if object_store.is_url(config.path):
        raise InputError(
            f"data.path is {config.path!r}: {config.source} needs a local folder; s3:// holds Parquet or images"
        )
    return Path(config.path).resolve() if config.path else cache_folder() / "torchvision"


def _open(config: DataConfig, *, train: bool) -> Any:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[config.source]
    folder = root(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return kind(str(folder), train=train, download=True)
    # A failing download ends in URLError, OSError or torchvision's RuntimeError for a wrong checksum.
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{config.source} is not in {folder} and could not be downloaded ({reason}): "
            f"set data.path to the folder that holds {FOLDERS[config.source]}"
        ) from None


def _table(images: Any, split: str) -> ImageTable:
    labels = np.array(images.targets, dtype=np.int64)
    return ImageTable(labels, lambda i: f"{split} image {i}", lambda i: np.asarray(images.data[i], dtype=np.uint8))
