import hashlib

import numpy as np
import pytest

from longtail.data.imbalance import choose, choose_validation, subset_sha256
from longtail.data.profiles import class_counts
from longtail.errors import InputError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 50))
NAMES = tuple("abcdefghij")


def counts(factor):
    return class_counts("exponential", np.full(10, 50), factor, 0)


def pick(amounts, seed=0, labels=LABELS):
    return choose(labels, np.asarray(amounts), np.random.default_rng([seed, 1]))


def test_chooses_the_asked_number_sorted_and_reproducibly():
    rows = pick(counts(25))
    assert np.bincount(LABELS[rows]).tolist() == counts(25).tolist()
    assert (np.diff(rows) > 0).all()
    assert rows.dtype == np.int64
    assert np.array_equal(rows, pick(counts(25)))
    assert not np.array_equal(rows, pick(counts(25), seed=1))


def test_a_longer_tail_is_contained_in_a_shorter_one():
    assert np.isin(pick(counts(50)), pick(counts(10))).all()


def test_one_class_does_not_depend_on_the_counts_or_images_of_others():
    few = pick([5] * 10)
    other = pick([50] * 5 + [5] * 5)
    assert np.array_equal(few[LABELS[few] >= 5], other[LABELS[other] >= 5])
    unlabelled = np.where(LABELS == 3, -1, LABELS)
    rows = pick([5, 5, 5, 0, 5, 5, 5, 5, 5, 5], labels=unlabelled)
    assert np.array_equal(rows, few[LABELS[few] != 3])


def test_every_image_is_equally_likely():
    chosen = np.concatenate([pick([10] * 10, seed) for seed in range(300)])
    hits = np.bincount(chosen, minlength=500)
    assert hits.mean() == pytest.approx(60)
    # Binomial(300, 0.2) has a standard deviation of 6.9.
    assert (np.abs(hits - 60) < 5 * 6.9).all()


def test_unchosen_validation_is_balanced_and_disjoint():
    chosen = pick([40] * 10)
    train, validation = choose_validation(LABELS, chosen, "unchosen", 4, np.random.default_rng(2), class_names=NAMES)
    assert np.array_equal(train, chosen)
    assert not np.isin(validation, chosen).any()
    assert np.bincount(LABELS[validation]).tolist() == [4] * 10


def test_unchosen_validation_names_the_classes_with_too_few():
    chosen = pick([50, 48] + [20] * 8)
    with pytest.raises(InputError, match=r"in 2 classes: 'a' has 0 of 4, 'b' has 2 of 4; lower"):
        choose_validation(LABELS, chosen, "unchosen", 4, np.random.default_rng(2), class_names=NAMES)


def test_chosen_validation_leaves_half_of_every_class():
    chosen = pick([50, 20, 9, 8, 5, 4, 3, 2, 1, 1])
    train, validation = choose_validation(LABELS, chosen, "chosen", 4, np.random.default_rng(2), class_names=NAMES)
    assert np.bincount(LABELS[validation], minlength=10).tolist() == [4, 4, 4, 4, 2, 2, 1, 1, 0, 0]
    assert np.array_equal(np.sort(np.concatenate([train, validation])), chosen)
    assert np.bincount(LABELS[train]).min() == 1


def test_no_validation():
    chosen = pick([5] * 10)
    train, validation = choose_validation(LABELS, chosen, "none", 4, np.random.default_rng(2), class_names=NAMES)
    assert np.array_equal(train, chosen)
    assert len(validation) == 0


def test_digest_is_of_little_endian_bytes():
    assert subset_sha256(np.array([1, 258])) == hashlib.sha256(b"\1" + bytes(7) + b"\2\1" + bytes(6)).hexdigest()
    assert subset_sha256(np.array([1, 258], dtype=">i8")) == subset_sha256(np.array([1, 258]))
