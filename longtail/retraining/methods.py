"""Four ways to get a classifier for the tail from one frozen backbone."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from longtail.calibration.artifact import Samples, write_samples
from longtail.config import RetrainingConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.networks import ImageClassifier, build_head
from longtail.retraining.balance import class_aware_order
from longtail.retraining.head import EpochSet, FeatureSet, fit_head

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
    on_epoch: OnEpoch | None = None,
) -> ImageClassifier:
    """Return a copy of the classifier with its head retrained; the backbone stays as it is.

    Every method takes the same number of steps: `config.epochs` passes over as many features as the balanced
    set has.

    Args:
        method: `baseline`: the head as it was trained. `crt`: a new head on class-aware samples of the real
            features (Kang et al. 2020, arXiv 1910.09217). `tailcalib`: the head goes on learning on the real and
            one set of generated features (Vigneswaran et al. 2021, arXiv 2111.05956). `tailcalibx`: the same
            with a fresh set each epoch, from the next augmented view if there are any.
        classifier: The trained network.
        features: Its features.
        samples: The generated set, with the sampler's settings.
        config: The recipe.
        seed: Of new heads, orders and fresh sets.
        work: Folder for the fresh sets, which may be larger than memory.
        on_epoch: Called with the epoch (from 1) and its metrics.

    Raises:
        InputError: If the method is unknown.
    """
    if method not in METHODS:
        raise InputError(f"retraining.methods has {method!r}: choose from {', '.join(METHODS)}")
    task = _Task(copy.deepcopy(classifier), features, samples, config, seed, work, on_epoch)
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
    on_epoch: OnEpoch | None

    def view(self, epoch: int) -> int:
        """Return the view of an epoch: the augmented ones in turn, or the clean one if there are none."""
        return 1 + epoch % self.features.views if self.features.views else 0

    def fit(self, epoch_set: EpochSet, peak: float, schedule: str) -> None:
        """Train the head on the features of each epoch."""
        head, config = self.classifier.head, self.config
        fit_head(head, epoch_set, config, peak=peak, schedule=schedule, seed=self.seed, on_epoch=self.on_epoch)

    def go_on(self, epoch_set: EpochSet) -> None:
        """Train the head from where it is, on features in the space that the generated ones live in."""
        self.classifier.tukey = self.samples.config.tukey
        self.fit(epoch_set, self.config.learning_rate, "constant")


def _baseline(_task: _Task) -> None:
    """Leave the head as it is."""


def _crt(task: _Task) -> None:
    spec, labels = task.classifier.spec, torch.from_numpy(task.features.labels("train").copy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        size = int(task.classifier.backbone.feature_size)  # type: ignore[arg-type]
        task.classifier.head = build_head(spec.head, size, len(spec.class_names), spec.scale)

    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        real = FeatureSet.real_only(task.features, task.view(epoch))
        return real, class_aware_order(labels, task.samples.balanced_size, generator)

    task.fit(epoch_set, task.config.crt_learning_rate, "cosine")


def _tailcalib(task: _Task) -> None:
    balanced = FeatureSet.balanced(task.features, 0, task.samples)

    def epoch_set(_epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        return balanced, torch.randperm(len(balanced), generator=generator)

    task.go_on(epoch_set)


def _tailcalibx(task: _Task) -> None:
    samples, folder = task.samples, task.work / "epoch"

    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        view, seed = task.view(epoch), task.seed * 1_000_003 + epoch
        write_samples(task.features, view, samples.config, samples.normalise, folder, seed=seed)
        balanced = FeatureSet.balanced(task.features, view, Samples.open(folder))
        return balanced, torch.randperm(len(balanced), generator=generator)

    task.go_on(epoch_set)


METHODS: dict[str, Callable[[_Task], None]] = {
    "baseline": _baseline,
    "crt": _crt,
    "tailcalib": _tailcalib,
    "tailcalibx": _tailcalibx,
}
