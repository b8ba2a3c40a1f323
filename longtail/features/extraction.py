"""Features of a frozen backbone, as arrays that can be memory-mapped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.artifacts import artifact_digest, open_artifact, write_array
from longtail.config import FeaturesConfig
from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.networks import ImageClassifier
from longtail.shards import WHOLE, Shard, new_part
from longtail.training.batches import Images

SCHEMA = "longtail.features"
SCHEMA_VERSION = 1
EXAMPLE = "example.npy"
SCALING = "scaling.npy"


Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """A features artifact: raw (not normalised) features by split, memory-mapped.

    Attributes:
        path: The artifact's folder.
        class_names: (C,) names.
        train_counts: (C,) training images of each class.
        views: Number of augmented views of the training split.
        digest: SHA-256 of the artifact.
        dataset_digest: SHA-256 of the data set, or of the table, that the features come from.
        subset_sha256: SHA-256 of the training rows' numbers.
    """

    path: Path
    class_names: tuple[str, ...]
    train_counts: NDArray[np.int64]
    views: int
    digest: str
    dataset_digest: str = ""
    subset_sha256: str = ""

    @classmethod
    def open(cls, path: Path) -> "Features":
        """Return the artifact after checking its digests.

        Raises:
            InputError: If it is not a whole features artifact.
        """
        manifest = open_artifact(path, SCHEMA, SCHEMA_VERSION)
        counts = np.array(manifest["train_counts"], dtype=np.int64)
        origin = {name: manifest.get(name, "") for name in ("dataset_digest", "subset_sha256")}
        return cls(
            path, tuple(manifest["class_names"]), counts, int(manifest["views"]), artifact_digest(path), **origin
        )

    def train(self, view: int = 0) -> Floats:
        """Return (N, D) float32 of the training split; view 0 is the clean one, 1 … `views` are augmented."""
        return cast("Floats", _load(self.path / "train" / f"view-{view}.npy"))

    def split(self, name: str) -> Floats:
        """Return (N, D) float32 clean features of `train`, `validation` or `test`."""
        return cast("Floats", _load(self.path / name / "view-0.npy"))

    def labels(self, name: str) -> NDArray[np.int64]:
        """Return (N,) labels of a split."""
        return cast("NDArray[np.int64]", _load(self.path / name / "labels.npy"))

    def example(self) -> NDArray[Any]:
        """Return two of what the features were made from: images (2, H, W, C) uint8, or rows (2, D) float32.

        Raises:
            InputError: If the artifact is of a release that kept none.
        """
        if not (self.path / EXAMPLE).is_file():
            raise InputError(f"{self.path / EXAMPLE} is missing: write the features again")
        return cast("NDArray[Any]", np.load(self.path / EXAMPLE, allow_pickle=False))

    def scaling(self) -> Floats | None:
        """Return (2, D): what was subtracted from a table's features, then divided by; None if nothing was."""
        path = self.path / SCALING
        return cast("Floats", np.load(path, allow_pickle=False)) if path.is_file() else None


def extract(
    classifier: ImageClassifier,
    dataset: Dataset,
    config: FeaturesConfig,
    augmentation: str,
    out: Path,
    *,
    seed: int,
    progress: Progress | None = None,
    shard: Shard = WHOLE,
) -> None:
    """Write the features of every split, and augmented views of the training split.

    A shard holds whole batches, so that merged shards are bit for bit what one task writes on such a machine.

    Args:
        classifier: Its backbone is used in eval mode.
        dataset: Images.
        config: How many views; batch size.
        augmentation: Kind of augmentation, the one the backbone was trained with.
        out: Where the artifact appears.
        seed: Of the augmented views.
        progress: Called with images done and images in all.
        shard: Which part of each split; a part is an artifact for `merge_shards` alone.
    """
    classifier.eval().to(memory_format=torch.channels_last)
    names = [name for name in ("train", "validation", "test") if dataset.has_split(name)]
    views = {name: 1 + (config.views if name == "train" else 0) for name in names}
    rows = {name: shard.rows(len(dataset.split(name)), config.batch_size) for name in names}
    total = sum(len(rows[name]) * number for name, number in views.items())
    with new_part(out, SCHEMA, SCHEMA_VERSION, _fields(dataset, config), shard) as folder:
        np.save(folder / EXAMPLE, dataset.split("test").images(np.arange(2)))
        done = 0

        def counted(block: Floats) -> Floats:
            nonlocal done
            done += len(block)
            if progress is not None:
                progress(done, total)
            return block

        for name in names:
            split, target = dataset.split(name), folder / name
            target.mkdir()
            np.save(target / "labels.npy", split.labels[slice(rows[name].start, rows[name].stop)])
            np.save(target / "ids.npy", split.ids[slice(rows[name].start, rows[name].stop)])
            images = Images(split, classifier.mean.device)
            for view in range(views[name]):
                generator = torch.Generator().manual_seed(seed * 1_000_003 + view)
                kind, file = augmentation if view else "none", target / f"view-{view}.npy"
                write_view(
                    classifier,
                    images,
                    kind,
                    file,
                    batch_size=config.batch_size,
                    generator=generator,
                    passed=counted,
                    shard=shard,
                )


def _fields(dataset: Dataset, config: FeaturesConfig) -> dict[str, Any]:
    return {
        "class_names": list(dataset.class_names),
        "train_counts": dataset.train_counts.tolist(),
        "views": config.views,
        "dataset_digest": dataset.digest,
        "subset_sha256": dataset.subset_sha256,
    }


def write_view(
    classifier: ImageClassifier,
    images: Images,
    augmentation: str,
    file: Path,
    *,
    batch_size: int,
    generator: torch.Generator,
    passed: Callable[[Floats], Floats] = lambda block: block,
    shard: Shard = WHOLE,
) -> None:
    """Write the features (N, D) of one view of a split as an npy file.

    Args:
        classifier: Its backbone is used in the mode that it is in.
        images: The split's images.
        augmentation: Kind of augmentation; `none` for the clean view.
        file: Where to write.
        batch_size: Images of a forward pass.
        generator: Of the augmentation.
        passed: Every block of features goes through it.
        shard: Which rows.
    """
    mine, size = shard.rows(len(images.split), batch_size), int(classifier.backbone.feature_size)  # type: ignore[arg-type]
    rows = torch.arange(mine.start, mine.stop)
    for _ in range(0, mine.start, batch_size):
        images.pass_over(batch_size, augmentation, generator)
    blocks = _blocks(classifier, images, rows.split(batch_size) if len(rows) else (), augmentation, generator)
    write_array(file, (len(rows), size), np.float32, map(passed, blocks))


@torch.no_grad()
def _blocks(
    classifier: ImageClassifier, images: Images, rows: Sequence[Tensor], kind: str, generator: torch.Generator
) -> Iterator[Floats]:
    """Yield one view's features batch by batch."""
    for part in rows:
        batch = images.views(part, kind, generator)
        yield classifier.features(classifier.preprocess(batch)).float().cpu().numpy()


def _load(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)
