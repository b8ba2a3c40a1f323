"""Images in folders: `train/CLASS/FILE` with or without `test/CLASS/FILE`, or `CLASS/FILE` alone."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.config import DataConfig
from longtail.data.folders import Folder, file_names, folder_names, local_file, open_folder
from longtail.data.images import decode
from longtail.data.tables import Image, ImageTable, Source
from longtail.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
TEST_NAMES = ("test", "validation", "val", "valid")


def load(config: DataConfig) -> Source:
    """Return a folder of images; classes are the sorted names of the class folders for training.

    A class folder that only the test split has gives unknown labels, an empty one an empty class.

    Raises:
        InputError: If there are no class folders.
    """
    root = open_folder(config.path)
    folders = split_folders(root)
    if not config.path or not folders:
        raise InputError(
            f"data.path is {config.path!r}: give a folder with CLASS/ folders of {', '.join(SUFFIXES)} files, or with "
            f"train/CLASS/ and test/CLASS/ ({', '.join(TEST_NAMES[1:])} also stand for test)"
        )
    class_names = class_folders(folders["train"])
    tables = {split: _table(folder, class_names) for split, folder in folders.items()}
    return Source(root.name, class_names, tables["train"], tables.get("test"))


def split_folders(root: Folder) -> dict[str, Folder]:
    """Return the folder of the `train` split, and of the `test` split if there is one.

    Without class folders in `train` they may lie in the root itself, where one may be called `train` too; nothing is
    returned if none of them has an image, or if all are called like splits.
    """
    train = root / "train"
    test = next((root / name for name in TEST_NAMES if class_folders(root / name)), None)
    if class_folders(train):
        return {"train": train} | ({"test": test} if test else {})
    names = class_folders(root)
    has_images = any(image_files(root / name) for name in names)
    return {"train": root} if has_images and set(names) - {"train", *TEST_NAMES} else {}


def image_files(folder: Folder) -> list[str]:
    """Return the sorted names of a folder's image files."""
    return [name for name in file_names(folder) if name.lower().endswith(SUFFIXES)]


def class_folders(folder: Folder) -> tuple[str, ...]:
    """Return the sorted names of the class folders in a split's folder, which may not exist."""
    return tuple(folder_names(folder))


def file_table(folder: Folder, files: Sequence[bytes], labels: Sequence[int]) -> ImageTable:
    """Return a table of image files.

    Args:
        folder: Where they are; images in a store are copied when they are first read.
        files: Their paths in the folder, as the file system encodes them.
        labels: Class of each.
    """
    # Millions of names take a third of the memory as one array of bytes.
    names: NDArray[np.bytes_] = np.array(files, dtype=np.bytes_)

    def read(i: int) -> Image:
        try:
            return decode(local_file(folder, os.fsdecode(names[i])).read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None

    return ImageTable(np.array(labels, dtype=np.int64), lambda i: f"{folder.name}/{os.fsdecode(names[i])}", read)


def _table(folder: Folder, class_names: tuple[str, ...]) -> ImageTable:
    index = {name: label for label, name in enumerate(class_names)}
    labels: list[int] = []
    files: list[bytes] = []
    for name in class_folders(folder):
        found = [os.fsencode(f"{name}/{file}") for file in image_files(folder / name)]
        files += found
        labels += [index.get(name, -1)] * len(found)
    return file_table(folder, files, labels)
