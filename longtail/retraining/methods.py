"""Ways to get a classifier for the tail from one frozen backbone."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtail.calibration.artifact import Samples, write_samples
from longtail.config import RetrainingConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.networks import ImageClassifier, build_head
from longtail.retraining.adjustment import adjust_logits, normalise_weights
from longtail.retraining.head import EpochSet, FeatureSet, fit_head, resident
from longtail.retraining.images import BatchNormalised, FreshFeatures, TrainingImages
from longtail.retraining.modals import write_perturbed
from longtail.training.class_aware import class_aware_order

OnEpoch = Callable[[int, dict[str, float]], None]


def retrain(
    method: str,
    classifier: ImageClassifier,
    features: Features,
    samples: Samples,
    config: RetrainingConfig,
    *,
    seed: int,
    work: Path,
    images: TrainingImages | None = None,
    on_epoch: OnEpoch | None = None,
) -> ImageClassifier:
    """Return a copy of the classifier with another head; the weights of the backbone stay as they are.

    Every method that learns takes the same number of steps: `config.epochs` passes over as many features as the
    real and generated ones are together, with `config.epoch_length="real"` fewer for TailCalibX.

    Args:
        method: `baseline`: the head as it was trained. `crt`: a new head on class-aware samples of the real
            features (Kang et al. 2020, arXiv 1910.09217); with `config.crt_batch_norm="train"` the averages of the
            backbone's batch normalisation drift. `tailcalib`: the head goes on learning on the real and one set of
            generated features (Vigneswaran et al. 2021, arXiv 2111.05956). `tailcalibx`: the same with a fresh set
            each epoch, from the next augmented view if there are any, or from images augmented anew. `modals`: as
            TailCalib, with as many features from the same seeds, but only a little noise (see `write_perturbed`).
            `logit_adjustment` and `tau_norm`: the head without learning (see `adjust_logits`, `normalise_weights`).
        classifier: The trained network.
        features: Its features.
        samples: The generated set, with the sampler's settings.
        config: The recipe.
        seed: Of new heads, orders and fresh sets.
        work: Folder for the fresh sets, which may be larger than memory.
        images: What the features were made from, for settings that run the backbone.
        on_epoch: Called with the epoch (from 1) and its metrics.

    Raises:
        InputError: If the method is unknown, or the images are needed and missing.
    """
    if method not in METHODS:
        raise InputError(f"retraining.methods has {method!r}: choose from {', '.join(METHODS)}")
    task = _Task(copy.deepcopy(classifier), features, samples, config, seed, work, images, on_epoch)
    METHODS[method](task)
    return task.classifier.eval()


@dataclass(frozen=True)
class _Task:
    """The arguments of `retrain`, with the classifier's own copy."""

    classifier: ImageClassifier
    features: Features
    samples: Samples
    config: RetrainingConfig
    seed: int
    work: Path
    given_images: TrainingImages | None
    on_epoch: OnEpoch | None

    def view(self, epoch: int) -> int:
        """Return the view of an epoch: the augmented ones in turn, or the clean one if there are none."""
        return 1 + epoch % self.features.views if self.features.views else 0

    def images(self, setting: str) -> TrainingImages:
        """Return the images that a setting needs."""
        if self.given_images is None:
            raise InputError(f"{setting} needs images: give the data set too, or leave the setting out")
        self.given_images.check(self.features)
        return self.given_images

    def fit(self, epoch_set: EpochSet, peak: float, schedule: str) -> None:
        """Train the head on the features of each epoch."""
        head, config = self.classifier.head, self.config
        fit_head(head, epoch_set, config, peak=peak, schedule=schedule, seed=self.seed, on_epoch=self.on_epoch)

    def go_on(self, epoch_set: EpochSet, tukey: float) -> None:
        """Train the head from where it is, on features that were raised to a power."""
        self.classifier.tukey = tukey
        self.fit(epoch_set, self.config.learning_rate, "constant")

    def go_on_with(self, features: FeatureSet, tukey: float) -> None:
        """Train the head from where it is, on the same features in every epoch."""
        self.go_on(lambda _, generator: (features, torch.randperm(len(features), generator=generator)), tukey)


def _baseline(_task: _Task) -> None:
    """Leave the head as it is."""


def _crt(task: _Task) -> None:
    spec, labels = task.classifier.spec, torch.from_numpy(task.features.labels("train").copy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        size = int(task.classifier.backbone.feature_size)  # type: ignore[arg-type]
        task.classifier.head = build_head(spec.head, size, len(spec.class_names), spec.scale)
    drifting = None
    if task.config.crt_batch_norm == "train":
        augmentation = torch.Generator().manual_seed(task.seed)
        drifting = BatchNormalised(task.classifier, task.images("retraining.crt_batch_norm=train"), augmentation)

    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet | BatchNormalised, Tensor]:
        real = drifting or FeatureSet.real_only(task.features, task.view(epoch))
        return real, class_aware_order(labels, task.samples.balanced_size, generator)

    task.fit(epoch_set, task.config.crt_learning_rate, "cosine")


def _tailcalib(task: _Task) -> None:
    task.go_on_with(FeatureSet.balanced(task.features, 0, task.samples), task.samples.config.tukey)


def _tailcalibx(task: _Task) -> None:
    samples, features, fresh = task.samples, task.features, None
    if task.config.fresh == "backbone":
        images = task.images("retraining.fresh=backbone")
        fresh = FreshFeatures(task.classifier, images, features, task.work / "fresh")
    steps_of_all = task.config.epoch_length == "balanced"

    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        view, seed = task.view(epoch), task.seed * 1_000_003 + epoch
        now, folder = features, task.work / "epoch"
        if fresh is not None:
            view, now = 0, fresh.draw(task.config.batch_size, torch.Generator().manual_seed(seed))
        write_samples(now, view, samples.config, samples.normalise, folder, seed=seed)
        balanced = FeatureSet.balanced(now, view, Samples.open(folder))
        length = len(balanced) if steps_of_all else len(balanced.real)
        return balanced, torch.randperm(len(balanced), generator=generator)[:length]

    task.go_on(epoch_set, samples.config.tukey)


def _modals(task: _Task) -> None:
    samples, file, rng = task.samples, task.work / "modals.npy", np.random.default_rng(task.seed)
    real, labels = samples.scaled(task.features.train()), task.features.labels("train")
    write_perturbed(file, real, labels, samples.seed_rows, task.config.modals_noise, rng)
    generated = resident(np.load(file, mmap_mode="r", allow_pickle=False))
    both = torch.from_numpy(np.concatenate([labels, samples.labels]))
    task.go_on_with(FeatureSet(torch.from_numpy(real), generated, both), 1.0)


def _logit_adjustment(task: _Task) -> None:
    adjust_logits(task.classifier.head, task.features.train_counts, task.config.tau)


def _tau_norm(task: _Task) -> None:
    normalise_weights(task.classifier.head, task.config.tau)


METHODS: dict[str, Callable[[_Task], None]] = {
    "baseline": _baseline,
    "crt": _crt,
    "tailcalib": _tailcalib,
    "tailcalibx": _tailcalibx,
    "modals": _modals,
    "logit_adjustment": _logit_adjustment,
    "tau_norm": _tau_norm,
}
