"""Images in folders: `train/CLASS/FILE` and `test/CLASS/FILE`."""

import os
from pathlib import Path

import numpy as np

from longtail.config import DataConfig
from longtail.data.images import decode
from longtail.data.tables import Image, ImageTable, Source
from longtail.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
TEST_NAMES = ("test", "validation", "val")


def load(config: DataConfig) -> Source:
    """Return a folder of images; classes are the sorted folder names of `train/`.

    A class folder that only the test split has gives unknown labels, an empty one an empty class.

    Raises:
        InputError: If there is no `train/` or no `test/`, `validation/` or `val/` folder with class folders.
    """
    root = Path(config.path).resolve()
    folders = split_folders(root)
    if not config.path or not folders:
        raise InputError(
            f"data.path is {config.path!r}: give a folder with train/CLASS/ and test/CLASS/ folders of "
            f"{', '.join(SUFFIXES)} files (validation/ or val/ also stands for test/)"
        )
    class_names = class_folders(folders["train"])
    tables = {split: _table(folder, class_names) for split, folder in folders.items()}
    return Source(root.name, class_names, tables["train"], tables["test"])


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of the `train` and `test` split, or nothing if one of them is missing."""
    train = root / "train"
    test = next((root / name for name in TEST_NAMES if class_folders(root / name)), None)
    return {"train": train, "test": test} if class_folders(train) and test else {}


def image_files(folder: Path) -> list[str]:
    """Return the sorted names of a class folder's image files."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and _has_image_suffix(entry.name)
        )


def class_folders(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders in a split's folder, which may not exist."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))


def _has_image_suffix(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _table(folder: Path, class_names: tuple[str, ...]) -> ImageTable:
    index = {name: label for label, name in enumerate(class_names)}
    labels: list[int] = []
    files: list[bytes] = []
    for name in class_folders(folder):
        found = [os.fsencode(f"{name}/{file}") for file in image_files(folder / name)]
        files += found
        labels += [index.get(name, -1)] * len(found)
    # Millions of names take a third of the memory as one array of bytes.
    names = np.array(files, dtype=np.bytes_)

    def read(i: int) -> Image:
        try:
            return decode((folder / os.fsdecode(names[i])).read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None

    return ImageTable(np.array(labels, dtype=np.int64), lambda i: f"{folder.name}/{os.fsdecode(names[i])}", read)
