"""Where images come from: one function a kind of source, and a guess at the kind from what lies in a folder."""

from collections.abc import Callable
from pathlib import Path

from longtail.config import DataConfig
from longtail.data import digits, imagefolder, object_store, parquet, torchvision_cifar
from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError

__all__ = ["LOADERS", "ImageTable", "Source", "detect_source", "load_source"]

LOADERS: dict[str, Callable[[DataConfig], Source]] = {
    "digits": digits.load,
    "parquet": parquet.load,
    "imagefolder": imagefolder.load,
    "cifar10": torchvision_cifar.load,
    "cifar100": torchvision_cifar.load,
}


def load_source(config: DataConfig) -> Source:
    """Return the source that `config.source` names; labels are read, images are not.

    Raises:
        InputError: If the source is unknown, or `config.path` does not hold what it needs.
    """
    if config.source not in LOADERS:
        raise InputError(f"data.source is {config.source!r}: choose from {', '.join(LOADERS)}")
    return LOADERS[config.source](config)


def detect_source(path: str) -> str:
    """Return which kind of source lies at a path.

    Args:
        path: Local folder or `s3://bucket/prefix`.

    Returns:
        `parquet`, `imagefolder`, `cifar10` or `cifar100`.

    Raises:
        InputError: If none of them is there; the message says what was looked for.
    """
    if parquet.split_files(parquet.list_files(path)):
        return "parquet"
    if object_store.is_url(path):
        raise InputError(f"{path} holds no train*.parquet and test*.parquet, which is all that is read from s3://")
    if not Path(path).is_dir():
        raise InputError(f"{path!r} is not a folder: give a local folder or an s3:// address")
    for name, folder in torchvision_cifar.FOLDERS.items():
        if (Path(path) / folder).is_dir():
            return name
    if imagefolder.split_folders(Path(path)):
        return "imagefolder"
    raise InputError(
        f"{path} holds no known data set: looked for train*.parquet and test*.parquet (also in data/), "
        "for train/CLASS/ and test/CLASS/ folders of images, "
        f"and for {' and '.join(torchvision_cifar.FOLDERS.values())}"
    )
