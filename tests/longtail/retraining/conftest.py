"""A feature space in which classes of a pair share how they spread, so that a tail class can borrow it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from longtail.artifacts import new_artifact
from longtail.calibration.artifact import Samples, write_samples
from longtail.config import CalibrationConfig, RetrainingConfig
from longtail.features import Features
from longtail.networks import ImageClassifier, NetworkSpec, build
from longtail.retraining.head import FeatureSet, fit_head

CLASSES, SIZE, TEST_PER_CLASS = 10, 64, 50
COUNTS = [200, 119, 71, 43, 25, 15, 9, 5, 3, 2]


@dataclass
class World:
    """A classifier whose head was trained on the long-tailed features, and what retraining needs."""

    classifier: ImageClassifier
    features: Features
    samples: Samples
    folder: Path

    def accuracies(self, classifier):
        """Return the accuracy of each class (10,) on the test features, in per cent."""
        labels = self.features.labels("test")
        with torch.no_grad():
            found = classifier.classify(torch.from_numpy(np.array(self.features.split("test")))).argmax(1).numpy()
        return np.array([100 * np.mean(found[labels == label] == label) for label in range(CLASSES)])


def mixture(rng, counts):
    """Return training and test features (non-negative, like a backbone's) with labels."""
    pairs = rng.uniform(0, 1, (CLASSES // 2, SIZE))
    means = np.repeat(pairs, 2, axis=0) + rng.normal(0, 0.12, (CLASSES, SIZE))
    directions = np.repeat(rng.normal(0, 0.35, (CLASSES // 2, 4, SIZE)), 2, axis=0)
    order = rng.permutation(CLASSES)

    def draw(counts):
        labels = np.repeat(np.arange(CLASSES), counts)
        along = np.einsum("nk,nkd->nd", rng.normal(0, 1, (len(labels), 4)), directions[order][labels])
        x = means[order][labels] + along + rng.normal(0, 0.1, (len(labels), SIZE))
        return np.maximum(x, 0).astype(np.float32), labels.astype(np.int64)

    return draw(counts), draw([TEST_PER_CLASS] * CLASSES)


def write_features(path, rng, counts, views):
    train, test = mixture(rng, counts)
    names = [str(label) for label in range(CLASSES)]
    fields = {"class_names": names, "train_counts": list(counts), "views": views}
    with new_artifact(path, "longtail.features", 1, fields) as folder:
        for name, (x, labels) in (("train", train), ("test", test)):
            (folder / name).mkdir()
            np.save(folder / name / "labels.npy", labels)
            np.save(folder / name / "view-0.npy", x)
        for view in range(1, views + 1):
            x, _ = train
            noise = rng.normal(0, 0.02, x.shape)
            np.save(folder / "train" / f"view-{view}.npy", np.maximum(x + noise, 0).astype(np.float32))
    return Features.open(path)


@pytest.fixture(scope="session")
def make_world(tmp_path_factory):
    """Return a function that makes a `World` from a seed; the same one for the same arguments."""
    made = {}

    def make(seed=0, head="cosine", views=0, counts=tuple(COUNTS), tukey=1.0):
        key = (seed, head, views, counts, tukey)
        if key not in made:
            folder = tmp_path_factory.mktemp("world")
            features = write_features(folder / "features", np.random.default_rng(seed), counts, views)
            classifier = build(NetworkSpec("small_cnn", head, (8, 8, 1), features.class_names, (0.5,), (0.5,)), seed)
            real = FeatureSet.real_only(features, 0)
            fit_head(
                classifier.head,
                lambda _, generator: (real, torch.randperm(len(real), generator=generator)),
                RetrainingConfig(epochs=20, batch_size=64, momentum=0.9),
                peak=0.1,
                schedule="cosine",
                seed=seed,
                on_epoch=None,
            )
            settings = CalibrationConfig(n_neighbors=2, tukey=tukey)
            write_samples(features, 0, settings, head != "linear", folder / "samples", seed=seed)
            made[key] = World(classifier.eval(), features, Samples.open(folder / "samples"), folder)
        return made[key]

    return make
