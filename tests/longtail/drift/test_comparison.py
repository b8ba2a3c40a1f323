import dataclasses
import shutil

import numpy as np
import pytest

from longtail.config import DriftConfig
from longtail.data.digest import source_digest
from longtail.drift.comparison import compare
from longtail.drift.reference import read_reference
from tests.longtail.drift.conftest import images_of, write_images


@pytest.fixture
def compared(data, model):
    """Return a function that compares the source, as it is by then, with the champion."""
    before = source_digest(data)
    return lambda config=None: compare(
        "digits/1", before, lambda: read_reference(model), data, config or DriftConfig(), 0
    )


def kinds(drift):
    return [reason.kind for reason in drift.reasons]


def test_equal_content_ends_the_comparison_at_once(data):
    def never():
        raise AssertionError("the champion was read")

    drift = compare("digits/1", source_digest(data), never, data, DriftConfig(new_content=True), 0)
    assert not drift.needed
    assert drift.counts == ()


def test_a_few_more_images_are_new_content_and_no_reason_unless_that_suffices(compared, folder):
    write_images(folder, 0, images_of(0, 60, 65))
    drift = compared()
    assert not drift.needed
    assert drift.digest_now != drift.digest_then
    assert drift.whole.distance < 0.3
    assert kinds(compared(DriftConfig(new_content=True))) == ["content"]


def test_unseen_images_of_the_same_kind_are_no_reason(compared, folder):
    for label in range(5):
        shutil.rmtree(folder / "train" / "abcde"[label])
        write_images(folder, label, images_of(label, 100, 160))
    assert not compared().needed


def test_classes_that_appear_and_vanish_are_named(compared, folder):
    write_images(folder, 5, images_of(5))
    shutil.rmtree(folder / "train" / "b")
    drift = compared()
    found = [reason.numbers for reason in drift.reasons if reason.kind == "classes"]
    assert found == [{"appeared": ["f"]}, {"vanished": ["b"]}]
    assert "1 class appeared: f." in drift.sentence


def test_a_class_that_grew_is_named_with_its_counts(compared, folder):
    write_images(folder, 3, images_of(3, 60, 170))
    drift = compared()
    assert kinds(drift) == ["counts", "counts"]
    distance, changed = (reason.numbers for reason in drift.reasons)
    assert distance["share_distance"] == pytest.approx(136 / 328 - 1 / 5)
    assert changed["changed"] == {"d": [48, 136]}


def test_inverted_images_move_the_features(compared, folder):
    for label in range(5):
        shutil.rmtree(folder / "train" / "abcde"[label])
        write_images(folder, label, np.uint8(255) - images_of(label))
    drift = compared()
    assert kinds(drift) == ["features", "features"]
    assert drift.whole.moved
    assert drift == compared()


def test_a_class_of_few_images_is_counted_only(compared, folder, data, model):
    for name in "abcde":
        for file in sorted((folder / "train" / name).iterdir())[4:]:
            file.unlink()
    drift = compared()
    assert drift.whole is None
    assert kinds(drift) == ["counts"]


def test_the_comparison_is_of_what_the_settings_choose(data, model, folder):
    narrow = dataclasses.replace(data, profile="step", imbalance_factor=4)
    drift = compare("digits/1", "other", lambda: read_reference(model), narrow, DriftConfig(), 0)
    assert [change.now for change in drift.counts] == [48, 48, 12, 12, 12]
    assert kinds(drift)[0] == "counts"
