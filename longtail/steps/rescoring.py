"""An older model's predictions on the test split of a new run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.features import Features
from longtail.gate.scores import mapped
from longtail.networks import ImageClassifier, load
from longtail.networks.extension import NETWORK
from longtail.networks.identity import IDENTITY

_ROWS = 256


@torch.no_grad()
def predict_test(model: Path, features: Features, dataset: Dataset | None) -> NDArray[np.int64]:
    """Return predictions (N,) in the classes of the features, by name; -1 for a class that these do not have.

    Args:
        model: Folder of the older model's files.
        features: Of the new run; their test rows are read where there are no images.
        dataset: Images of the new run, None for a start from features.

    Raises:
        InputError: If the model reads something else.
    """
    classifier, _ = load(model / NETWORK)
    from_rows = classifier.spec.network == IDENTITY
    if from_rows != (dataset is None):
        kinds = {True: "rows of features", False: "images"}
        raise InputError(f"it reads {kinds[from_rows]}, this run has {kinds[dataset is None]}")
    inputs = _rows(classifier, features) if dataset is None else _images(classifier, dataset)
    found = [classifier(batch).argmax(dim=1) for batch in inputs]
    return mapped(torch.cat(found).numpy(), classifier.spec.class_names, features.class_names)


def _images(classifier: ImageClassifier, dataset: Dataset) -> Iterator[Tensor]:
    split = dataset.split("test")
    if tuple(classifier.spec.image_shape) != tuple(split.image_shape):
        raise InputError(f"it reads images of shape {classifier.spec.image_shape}, this run's are {split.image_shape}")
    for start in range(0, len(split), _ROWS):
        yield classifier.preprocess(torch.from_numpy(split.images(slice(start, start + _ROWS))))


def _rows(classifier: ImageClassifier, features: Features) -> Iterator[Tensor]:
    """Yield rows as they were in the table: a model has the scaling of its own run."""
    rows: NDArray[Any] = features.split("test")
    size = int(classifier.backbone.feature_size)  # type: ignore[arg-type]
    if size != rows.shape[1]:
        raise InputError(f"it reads {size} features, this run's rows have {rows.shape[1]}")
    scaling = features.scaling()
    for start in range(0, len(rows), _ROWS):
        part = np.array(rows[start : start + _ROWS])
        yield torch.from_numpy(part if scaling is None else part * scaling[1] + scaling[0])
