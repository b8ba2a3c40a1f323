"""Which images go into which split: what the source says, what is held out, what the profile chooses."""

import logging
from dataclasses import dataclass

import numpy as np

from longtail.config import DataConfig
from longtail.data.imbalance import Rows, choose, choose_validation
from longtail.data.problems import listing
from longtail.data.profiles import class_counts
from longtail.data.tables import Parts, Source
from longtail.errors import InputError

logger = logging.getLogger(__name__)

CHOICE_STREAM, VALIDATION_STREAM, TEST_STREAM = 1, 2, 3
_NO_ROWS: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Choice:
    """The images of a split: which table of the source they are in, and their rows there."""

    table: str
    ids: Rows  # (N,) sorted


def choose_splits(source: Source, config: DataConfig) -> dict[str, Choice]:
    """Return the images of the `train` and `test` splits, and of `validation` if the settings ask for it.

    What is held out of the training table depends on `config.split_seed` alone, so every subset that `config.seed`
    chooses leaves the same images out.

    Args:
        source: Its labels are known, and no class is empty.
        config: Profile, seeds and how to validate.

    Raises:
        InputError: If a class has too few images for what is asked of it.
    """
    labels, own_validation = source.train.labels.copy(), _NO_ROWS
    if source.test is not None:
        test = Choice("test", np.arange(len(source.test.labels)))
    else:
        rows, own_validation = _hold_out(source, config)
        test = Choice("train", rows)
        labels[rows] = labels[own_validation] = -1
    train, validation = _choose_training(labels, source, config)
    if config.validation == "unchosen" and source.parts is not None:
        validation = _first(source.train.labels, own_validation, config)
    splits = {"train": Choice("train", train), "test": test}
    if config.validation == "test":
        splits["validation"] = test
    elif len(validation):
        splits["validation"] = Choice("train", validation)
    return splits


def hold_out_counts(sizes: Rows, share: float) -> Rows:
    """Return how many images of each class of `sizes` images are held out, shape (C,).

    The share is rounded down, but a class of two gives one; a class with a single image keeps it.

    >>> hold_out_counts(np.array([1, 2, 9, 10, 500]), 0.2).tolist()
    [0, 1, 1, 2, 100]
    """
    counts = np.floor(sizes * share + 1e-9).astype(np.int64)
    return np.where(sizes > 1, np.clip(counts, 1, np.maximum(sizes - 1, 1)), 0)


def part_counts(sizes: Rows, parts: Parts) -> tuple[Rows, Rows]:
    """Return how many images of each class of `sizes` images are for validation and for testing, shapes (C,).

    >>> [counts.tolist() for counts in part_counts(np.array([1300, 732, 14]), Parts(500, 100, 100))]
    [[100, 100, 2], [100, 100, 2]]
    """
    total = parts.train + parts.validation + parts.test
    capped = np.minimum(sizes, total)
    return capped * parts.validation // total, capped * parts.test // total


def _hold_out(source: Source, config: DataConfig) -> tuple[Rows, Rows]:
    """Return the rows of the training table that are for testing, and those that are the source's own validation."""
    labels, names = source.train.labels, source.class_names
    sizes = np.bincount(labels, minlength=len(names))
    validation_counts, counts = np.zeros_like(sizes), hold_out_counts(sizes, config.test_share)
    if source.parts is not None:
        validation_counts, counts = part_counts(sizes, source.parts)
    untested = [f"{name!r} has {size}" for name, size, count in zip(names, sizes, counts, strict=True) if not count]
    if untested and (source.parts is not None or len(untested) == len(names)):
        raise InputError(
            f"{source.name} has too few images to hold out one for testing in {len(untested)} classes: "
            f"{listing(untested)}; add images, or remove these classes"
        )
    if untested:
        logger.warning("%d classes have too few images to be tested: %s", len(untested), listing(untested))
    test = choose(labels, counts, np.random.default_rng([config.split_seed, TEST_STREAM]))
    rest = labels.copy()
    rest[test] = -1
    return test, choose(rest, validation_counts, np.random.default_rng([config.split_seed, VALIDATION_STREAM]))


def _choose_training(labels: Rows, source: Source, config: DataConfig) -> tuple[Rows, Rows]:
    """Return the rows for training, and for validation on other rows; `labels` is -1 where an image is held out."""
    available = np.bincount(labels[labels >= 0], minlength=len(source.class_names))
    method, largest = config.validation, config.largest_class
    if source.parts is not None:
        available = np.minimum(available, source.parts.train)
    if method == "test" or (method == "unchosen" and source.parts is not None):
        method = "none"
    if method == "unchosen" and not largest:
        largest = max(0, int(available.min()) - config.validation_per_class)  # so that enough are left for it
    counts = class_counts(config.profile, available, config.imbalance_factor, largest, class_names=source.class_names)
    return choose_validation(
        labels,
        choose(labels, counts, np.random.default_rng([config.seed, CHOICE_STREAM])),
        method,
        config.validation_per_class,
        np.random.default_rng([config.seed, VALIDATION_STREAM]),
        class_names=source.class_names,
    )


def _first(labels: Rows, rows: Rows, config: DataConfig) -> Rows:
    """Return at most `validation_per_class` rows of each class."""
    kept = np.full_like(labels, -1)
    kept[rows] = labels[rows]
    most = np.full(labels.max() + 1, config.validation_per_class)
    return choose(kept, most, np.random.default_rng([config.split_seed, VALIDATION_STREAM]))
