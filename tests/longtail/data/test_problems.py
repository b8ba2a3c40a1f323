import numpy as np
import pytest

from longtail.data.problems import Problems, label_problems, listing
from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError


def table(split, labels):
    return ImageTable(np.array(labels, dtype=np.int64), lambda i: f"{split} {i}", lambda i: None)


def test_finds_unknown_labels_and_empty_classes_of_both_splits():
    source = Source("toy", ("a", "b", "c"), table("train", [0, 1, 3, 0]), table("test", [-1, 0, 2]))
    problems = label_problems(source)
    assert problems.unknown == ["'train 2' (3)", "'test 0' (-1)"]
    assert problems.empty == ["'c' in train", "'b' in test"]


def test_a_clean_source_has_none():
    source = Source("toy", ("a", "b"), table("train", [0, 1]), table("test", [1, 0]))
    problems = label_problems(source)
    assert not problems
    problems.check("toy")


def test_all_kinds_are_in_one_line_with_counts():
    problems = Problems(empty=["'a' in train"], unknown=["x (9)"], corrupt=[f"image {i}" for i in range(25)])
    with pytest.raises(InputError, match=r"toy has 1 empty classes: .*; 1 unknown labels: .*; 25 corrupt images") as e:
        problems.check("toy")
    message = str(e.value)
    assert "image 19 and 5 more; repair or remove" in message
    assert "image 20" not in message
    assert "\n" not in message


def test_listing_is_whole_up_to_twenty():
    assert listing(["a", "b"]) == "a, b"
    assert "more" not in listing(["a"] * 20)
