"""Training images through the frozen backbone while a head learns."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtail.data.dataset import Split
from longtail.errors import InputError
from longtail.features import Features, write_view
from longtail.networks import ImageClassifier
from longtail.training.batches import Images


@dataclass(frozen=True)
class TrainingImages:
    """What the features were made from.

    Attributes:
        split: The training split.
        augmentation: Kind of augmentation, the one the backbone was trained with.
    """

    split: Split
    augmentation: str

    def check(self, features: Features) -> None:
        """Check that features have the rows of these images.

        Raises:
            InputError: If they do not.
        """
        if not np.array_equal(self.split.labels, features.labels("train")):
            raise InputError(
                f"the features of {features.path} are not those of the {len(self.split)} training images that were "
                "given: give the data set that they were extracted from"
            )


class FreshFeatures:
    """Features of the training images, augmented anew whenever they are asked for; the backbone is in eval mode."""

    def __init__(self, classifier: ImageClassifier, source: TrainingImages, features: Features, folder: Path) -> None:
        self._classifier, self._source, self._features, self._folder = classifier, source, features, folder
        self._images = Images(source.split, classifier.mean.device)
        (folder / "train").mkdir(parents=True, exist_ok=True)
        np.save(folder / "train" / "labels.npy", source.split.labels)

    def draw(self, batch_size: int, generator: torch.Generator) -> Features:
        """Return features whose only view was augmented now; what was returned before is lost.

        Args:
            batch_size: Images of a forward pass.
            generator: Of the augmentation.
        """
        file = self._folder / "train" / "view-0.npy"
        file.unlink(missing_ok=True)  # not overwritten: somebody may have mapped it
        self._classifier.eval()
        augmentation = self._source.augmentation
        write_view(self._classifier, self._images, augmentation, file, batch_size=batch_size, generator=generator)
        return dataclasses.replace(self._features, path=self._folder, views=0)


class BatchNormalised:
    """Features of the training images by a backbone that normalises each batch by itself, as while it was trained.

    Its weights stay, but the averages of its batch normalisation drift to those of the batches it is given. The
    authors' code does so to the frozen backbone of cRT.
    """

    def __init__(self, classifier: ImageClassifier, source: TrainingImages, generator: torch.Generator) -> None:
        self._classifier, self._augmentation, self._generator = classifier, source.augmentation, generator
        self._images = Images(source.split, classifier.mean.device)
        self._labels = torch.from_numpy(source.split.labels.copy())
        classifier.backbone.train()

    @torch.no_grad()
    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, D) and labels (n,) of rows (n,), augmented anew."""
        images = self._images.views(rows, self._augmentation, self._generator)
        features = self._classifier.features(self._classifier.preprocess(images))
        return features.float().cpu(), self._labels[rows]
