"""Four ways to get a classifier for the tail from one frozen backbone."""

import copy
from collections.abc import Callable
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
    result = copy.deepcopy(classifier)
    METHODS[method](result, features, samples, config, seed, work, on_epoch)
    return result.eval()


def _baseline(*_: object) -> None:
    """Leave the head as it is."""


def _crt(
    classifier: ImageClassifier,
    features: Features,
    samples: Samples,
    config: RetrainingConfig,
    seed: int,
    _work: Path,
    on_epoch: OnEpoch | None,
) -> None:
    spec, labels = classifier.spec, torch.from_numpy(features.labels("train").copy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = int(classifier.backbone.feature_size)  # type: ignore[arg-type]
        classifier.head = build_head(spec.head, size, len(spec.class_names), spec.scale)

    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        real = FeatureSet.real_only(features, _view(features, epoch))
        return real, class_aware_order(labels, samples.balanced_size, generator)

    fit_head(
        classifier.head,
        epoch_set,
        config,
        peak=config.crt_learning_rate,
        schedule="cosine",
        seed=seed,
        on_epoch=on_epoch,
    )


def _tailcalib(
    classifier: ImageClassifier,
    features: Features,
    samples: Samples,
    config: RetrainingConfig,
    seed: int,
    _work: Path,
    on_epoch: OnEpoch | None,
) -> None:
    balanced = FeatureSet.balanced(features, 0, samples)

    def epoch_set(_epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        return balanced, torch.randperm(len(balanced), generator=generator)

    _continue(classifier, samples, epoch_set, config, seed, on_epoch)


def _tailcalibx(
    classifier: ImageClassifier,
    features: Features,
    samples: Samples,
    config: RetrainingConfig,
    seed: int,
    work: Path,
    on_epoch: OnEpoch | None,
) -> None:
    def epoch_set(epoch: int, generator: torch.Generator) -> tuple[FeatureSet, Tensor]:
        view = _view(features, epoch)
        folder = work / "epoch"
        write_samples(features, view, samples.config, samples.normalise, folder, seed=seed * 1_000_003 + epoch)
        balanced = FeatureSet.balanced(features, view, Samples.open(folder))
        return balanced, torch.randperm(len(balanced), generator=generator)

    _continue(classifier, samples, epoch_set, config, seed, on_epoch)


METHODS: dict[str, Callable[..., None]] = {
    "baseline": _baseline,
    "crt": _crt,
    "tailcalib": _tailcalib,
    "tailcalibx": _tailcalibx,
}


def _continue(
    classifier: ImageClassifier,
    samples: Samples,
    epoch_set: EpochSet,
    config: RetrainingConfig,
    seed: int,
    on_epoch: OnEpoch | None,
) -> None:
    """Go on training the head, on features in the space that the generated ones live in."""
    classifier.tukey = samples.config.tukey
    rate = config.learning_rate
    fit_head(classifier.head, epoch_set, config, peak=rate, schedule="constant", seed=seed, on_epoch=on_epoch)


def _view(features: Features, epoch: int) -> int:
    return 1 + epoch % features.views if features.views else 0
