"""Training that goes on from a version of a registered model, whose head is extended to the data set's classes."""

import logging
import re

import numpy as np
import torch
from torch import Tensor

from longtail.data.dataset import Split
from longtail.data.imbalance import Rows
from longtail.errors import InputError
from longtail.networks import ImageClassifier, NetworkSpec, load
from longtail.networks.extension import NETWORK, extended
from longtail.tracking.loading import download

log = logging.getLogger(__name__)

SCHEME = "models:/"
_VERSION = re.compile(r"models:/[^/@]+/\d+|models:/m-[0-9a-f]+")
_IMAGES_OF_NEW, _IMAGES_OF_OLD = 100, 2000
"""Most images of each new class, and about all old ones together, that new rows of the head are made from."""
_BATCH = 64


def going_on(spec: NetworkSpec, weights: str, training: Split) -> ImageClassifier | None:
    """Return the classifier to be trained if it goes on from a registered model, None if it starts from something else.

    Args:
        spec: What is asked for.
        weights: `backbone.weights`.
        training: Training images; a few make the rows of new classes.

    Raises:
        InputError: If the model is not named by a version, is not there, or does not fit what is asked for.
    """
    if not weights.startswith(SCHEME):
        return None
    if not _VERSION.fullmatch(weights):
        raise InputError(
            f"backbone.weights={weights} may mean another model tomorrow: name a version, such as models:/NAME/3"
        )
    champion, _ = load(download(weights) / NETWORK)
    new = [name not in champion.spec.class_names for name in spec.class_names]
    result = extended(champion, spec, lambda: _examples(champion, new, training))
    added = ", ".join(name for name, is_new in zip(spec.class_names, new, strict=True) if is_new)
    log.info("training goes on from %s%s", weights, f", new classes: {added}" if added else "")
    return result


def _examples(champion: ImageClassifier, new: list[bool], training: Split) -> tuple[Tensor, Tensor]:
    """Return features (N, D) and labels (N,) of the images that rows of new classes are made from."""
    of_old = max(1, _IMAGES_OF_OLD // max(1, new.count(False))) if champion.spec.head == "linear" else 0
    places = np.concatenate([
        _spaced(np.flatnonzero(training.labels == label), _IMAGES_OF_NEW if is_new else of_old)
        for label, is_new in enumerate(new)
    ])
    with torch.inference_mode():
        parts = [
            champion.features(champion.preprocess(torch.from_numpy(training.images(block))))
            for block in np.array_split(places, -(-len(places) // _BATCH))
        ]
    return torch.cat(parts), torch.from_numpy(training.labels[places])


def _spaced(rows: Rows, most: int) -> Rows:
    """Return at most so many of some rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
