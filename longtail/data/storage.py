"""Writing the splits of a data set: rows and labels of each, and its images if they are small."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from longtail.config import DataConfig
from longtail.data.imbalance import subset_sha256
from longtail.data.scan import PACKED_SIDE, Scan, drop_colour, scan
from longtail.data.splits import Choice
from longtail.data.tables import Source
from longtail.errors import InputError

Progress = Callable[[int, int], None]


def write_rows(source: Source, splits: dict[str, Choice], folder: Path) -> dict[str, Any]:
    """Write `ids.npy` and `labels.npy` of each split into a folder of its own.

    A validation split on the test images shares the folder `test`.

    Returns:
        The manifest's fields about what was chosen.
    """
    labels, own = {}, _own(splits)
    for name, choice in splits.items():
        labels[name] = source.tables[choice.table].labels[choice.ids]
        if name in own:
            (folder / name).mkdir()
            np.save(folder / name / "ids.npy", choice.ids)
            np.save(folder / name / "labels.npy", labels[name])
    counts = {name: np.bincount(found, minlength=len(source.class_names)) for name, found in labels.items()}
    return {
        "train_counts": counts["train"].tolist(),
        "test_counts": counts["test"].tolist(),
        "subset_sha256": subset_sha256(splits["train"].ids),
        "splits": {
            name: {
                "images": len(choice.ids),
                "table": choice.table,
                "source_images": len(source.tables[choice.table].labels),
                "folder": name if name in own else "test",
            }
            for name, choice in splits.items()
        },
    }


def store_images(
    source: Source, splits: dict[str, Choice], config: DataConfig, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Decode the images of all splits and write `images.npy` of each if they are small.

    Args:
        source: Where the images are from.
        splits: Rows of each split; their folders are there.
        config: Size of images and crops.
        folder: Of the artifact.
        progress: Called with the images done and the images in all.

    Returns:
        The manifest's fields about the images.

    Raises:
        InputError: If images are corrupt, differ in size, or are smaller than the crop.
    """
    own, found, done = _own(splits), Scan(), 0
    total = sum(len(choice.ids) for choice in own.values())

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    for name, choice in own.items():
        target = folder / name / "images.npy"
        found.add(scan(source.tables[choice.table], choice.ids, config.image_size, target, advance))
    found.check(source.name)
    height, width = found.single_size()
    check_crop(config.crop_size, min(height, width))
    packed = max(height, width) <= PACKED_SIDE
    if packed and not found.colour:
        for name in own:
            drop_colour(folder / name / "images.npy")
    shape = [config.crop_size or height, config.crop_size or width, 3 if found.colour else 1]
    return {"image_shape": shape, "storage": "packed" if packed else "lazy"}


def check_crop(crop_size: int, side: int) -> None:
    """Raise `InputError` if a crop is larger than the images' shorter side, in pixels."""
    if crop_size > side:
        raise InputError(f"data.crop_size is {crop_size}: it must be at most the images' shorter side, {side} pixels")


def _own(splits: dict[str, Choice]) -> dict[str, Choice]:
    """Return the splits with images of their own: validation on the test images has none."""
    return {name: choice for name, choice in splits.items() if name == "test" or choice is not splits["test"]}
