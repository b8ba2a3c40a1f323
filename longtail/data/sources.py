"""Where images come from: one function a kind of source, and a guess at the kind from what lies in a folder."""

from collections.abc import Callable
from pathlib import Path

from longtail.config import DataConfig
from longtail.data import digits, imagefolder, mini_imagenet, object_store, parquet, torchvision_cifar
from longtail.data.folders import folder_names, open_folder
from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError

__all__ = ["LOADERS", "ImageTable", "Source", "detect_source", "load_source"]

LOADERS: dict[str, Callable[[DataConfig], Source]] = {
    "digits": digits.load,
    "parquet": parquet.load,
    "imagefolder": imagefolder.load,
    "cifar10": torchvision_cifar.load,
    "cifar100": torchvision_cifar.load,
    "mini_imagenet": mini_imagenet.load,
}


def load_source(config: DataConfig) -> Source:
    """Return the source that `config.source` names; labels are read, images are not.

    Raises:
        InputError: If the source is unknown, or `config.path` does not hold what it needs.
    """
    if config.source not in LOADERS:
        raise InputError(f"data.source is {config.source!r}: choose from {', '.join(LOADERS)}")
    return LOADERS[config.source](config)


def detect_source(path: str, preferred: str = "") -> str:
    """Return which kind of source lies at a path.

    Args:
        path: Local folder or `s3://bucket/prefix`.
        preferred: Kind that the settings name so far. Class folders that are named by WordNet ids are `mini_imagenet`
            unless it is `imagefolder`, which can read them too.

    Returns:
        `parquet`, `imagefolder`, `cifar10`, `cifar100` or `mini_imagenet`.

    Raises:
        InputError: If none of them is there; the message says what was looked for.
    """
    tables = parquet.split_files(parquet.list_files(path))
    if "test" in tables or (tables and object_store.is_url(path)):
        return "parquet"
    if not object_store.is_url(path) and not Path(path).is_dir():
        raise InputError(f"{path!r} is not a folder: give a local folder or an s3:// address")
    root = open_folder(path)
    for name, folder in torchvision_cifar.FOLDERS.items():
        if folder in folder_names(root):
            return name
    folders = imagefolder.split_folders(root)
    if "test" in folders:
        return "imagefolder"
    if tables:
        return "parquet"
    layout = mini_imagenet.layout(root)
    if layout == "flat" or (layout and preferred != "imagefolder"):
        return "mini_imagenet"
    if folders:
        return "imagefolder"
    raise InputError(
        f"{path} holds no known data set: looked for train*.parquet (also in data/), for train/CLASS/ and test/CLASS/ "
        "folders of images or CLASS/ folders alone, for images that are named like n01532829_1234.JPEG, "
        f"and for {' and '.join(torchvision_cifar.FOLDERS.values())}"
    )
