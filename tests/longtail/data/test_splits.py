import dataclasses
import logging

import numpy as np
import pytest

from longtail.config import DataConfig
from longtail.data.mini_imagenet import PARTS
from longtail.data.splits import choose_splits, hold_out_counts, part_counts
from longtail.data.tables import ImageTable, Parts, Source
from longtail.errors import InputError


def table(*sizes):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return ImageTable(labels, str, lambda i: np.empty((0, 0, 3), np.uint8))


def source(*sizes, test=None, parts=None):
    names = tuple(f"class {c}" for c in range(len(sizes)))
    return Source("toy", names, table(*sizes), None if test is None else table(*test), parts)


def counts(source, choice):
    return np.bincount(source.tables[choice.table].labels[choice.ids], minlength=len(source.class_names)).tolist()


NATURAL = DataConfig(source="imagefolder", profile="natural")
MINI = DataConfig(source="mini_imagenet", validation="unchosen", validation_per_class=100)


def test_mini_imagenet_lt_has_the_paper_s_numbers():
    """100 classes, imbalance factor 100: 10,847 training images, 100 a class to validate and to test, all disjoint."""
    images = source(*range(732, 832), parts=PARTS)
    splits = choose_splits(images, MINI)
    assert [len(splits[name].ids) for name in ("train", "validation", "test")] == [10_847, 10_000, 10_000]
    assert counts(images, splits["train"])[::99] == [500, 5]
    assert set(counts(images, splits["validation"])) == set(counts(images, splits["test"])) == {100}
    rows = np.concatenate([choice.ids for choice in splits.values()])
    assert len(np.unique(rows)) == len(rows)
    assert {choice.table for choice in splits.values()} == {"train"}


def test_held_out_images_are_the_same_for_every_seed():
    """So a teacher on a subset of its own never sees a test image."""
    images = source(*[70] * 4, parts=Parts(50, 10, 10))
    first, second, third = (
        choose_splits(images, dataclasses.replace(MINI, **changes)) for changes in ({}, {"seed": 1}, {"split_seed": 1})
    )
    for name in ("validation", "test"):
        assert np.array_equal(first[name].ids, second[name].ids)
        assert not np.array_equal(first[name].ids, third[name].ids)
    assert not np.array_equal(first["train"].ids, second["train"].ids)
    assert not np.isin(second["train"].ids, np.concatenate([first["test"].ids, first["validation"].ids])).any()


@pytest.mark.parametrize(
    ("profile", "validation"),
    [("exponential", "none"), ("exponential", "chosen"), ("exponential", "unchosen"), ("natural", "chosen")],
)
def test_no_image_is_in_two_splits(profile, validation):
    for images in (source(30, 40, 50), source(30, 40, 50, parts=Parts(5, 1, 1)), source(30, 40, 50, test=(3, 4, 5))):
        config = DataConfig(profile=profile, validation=validation, validation_per_class=2, imbalance_factor=5)
        rows = [(choice.table, row) for choice in choose_splits(images, config).values() for row in choice.ids]
        assert len(set(rows)) == len(rows)


def test_small_classes_are_split_in_the_same_proportions():
    images = source(14, 14, 21, parts=PARTS)
    splits = choose_splits(images, dataclasses.replace(MINI, profile="natural"))
    assert counts(images, splits["test"]) == counts(images, splits["validation"]) == [2, 2, 3]
    assert counts(images, splits["train"]) == [10, 10, 15]
    fewer = choose_splits(images, dataclasses.replace(MINI, validation_per_class=1))
    assert counts(images, fewer["validation"]) == [1, 1, 1]
    assert np.isin(fewer["validation"].ids, splits["validation"].ids).all()
    assert np.array_equal(fewer["train"].ids, choose_splits(images, MINI)["train"].ids)
    assert "validation" not in choose_splits(images, dataclasses.replace(MINI, validation="none"))


def test_a_natural_data_set_keeps_what_is_not_held_out():
    images = source(500, 100, 7, 3, 2)
    splits = choose_splits(images, NATURAL)
    assert counts(images, splits["test"]) == [100, 20, 1, 1, 1]
    assert counts(images, splits["train"]) == [400, 80, 6, 2, 1]
    assert "validation" not in splits
    half = choose_splits(images, dataclasses.replace(NATURAL, test_share=0.5))
    assert counts(images, half["test"]) == [250, 50, 3, 1, 1]


def test_what_is_held_out_of_a_class_does_not_depend_on_the_others():
    small, large = source(20, 30), source(20, 30, 40)
    of_small, of_large = (choose_splits(images, NATURAL)["test"] for images in (small, large))
    places = [
        np.flatnonzero(np.isin(np.flatnonzero(images.train.labels == 1), choice.ids))
        for images, choice in ((small, of_small), (large, of_large))
    ]
    assert np.array_equal(*places)


def test_a_single_image_is_trained_on_and_named(caplog):
    images = source(5, 1, 1)
    with caplog.at_level(logging.WARNING, "longtail.data.splits"):
        splits = choose_splits(images, NATURAL)
    assert counts(images, splits["train"]) == [4, 1, 1]
    assert counts(images, splits["test"]) == [1, 0, 0]
    assert "2 classes have too few images to be tested: 'class 1' has 1, 'class 2' has 1" in caplog.text


def test_nothing_to_test_on():
    with pytest.raises(InputError, match="too few images to hold out one for testing in 2 classes: 'class 0' has 1, "):
        choose_splits(source(1, 1), NATURAL)
    with pytest.raises(InputError, match="in 1 classes: 'class 1' has 6; add images, or remove these classes"):
        choose_splits(source(14, 6, parts=PARTS), MINI)


def test_the_source_s_own_test_split_is_used_whole():
    images = source(30, 40, test=(3, 5))
    splits = choose_splits(images, DataConfig(imbalance_factor=2.0, test_share=0.5))
    assert (splits["test"].table, counts(images, splits["test"])) == ("test", [3, 5])
    assert counts(images, splits["train"]) == [30, 15]


@pytest.mark.parametrize("test", [None, (3, 5)])
def test_validation_on_the_test_images(test):
    images = source(30, 40, test=test)
    plain = choose_splits(images, DataConfig(imbalance_factor=2.0))
    splits = choose_splits(images, DataConfig(imbalance_factor=2.0, validation="test"))
    assert splits["validation"] is splits["test"]
    assert np.array_equal(splits["train"].ids, plain["train"].ids)


def test_counts():
    sizes = np.arange(1, 40)
    held = hold_out_counts(sizes, 0.2)
    assert (held[1:] >= 1).all() and (held < sizes).all() and (held[4:] <= 0.2 * sizes[4:]).all()
    assert hold_out_counts(np.array([10, 100]), 0.1).tolist() == [1, 10]  # 0.1 * 10 is not below 1
    assert hold_out_counts(np.array([2, 3]), 0.9).tolist() == [1, 2]
    validation, test = part_counts(np.array([700, 699, 7, 6]), PARTS)
    assert validation.tolist() == test.tolist() == [100, 99, 1, 0]
