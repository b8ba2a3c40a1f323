import numpy as np
import pytest

from longtail.errors import InputError
from longtail.gate import Scores, mapped

SCORES = Scores(np.array([0, 1, 1]), np.array([0, -1, 1]), ("ä", "b"), ("many", "few"), "d" * 64)


def test_what_is_written_is_read(tmp_path):
    SCORES.write(tmp_path / "scores.safetensors")
    found = Scores.read(tmp_path / "scores.safetensors")
    assert np.array_equal(found.labels, SCORES.labels) and np.array_equal(found.predictions, SCORES.predictions)
    assert found.predictions.dtype == np.int64
    assert (found.class_names, found.groups, found.test_digest) == (("ä", "b"), ("many", "few"), "d" * 64)


def test_a_damaged_file_is_bad_input(tmp_path):
    path = tmp_path / "scores.safetensors"
    with pytest.raises(InputError, match="holds no predictions"):
        Scores.read(path)
    SCORES.write(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="holds no predictions"):
        Scores.read(path)
    Scores(np.array([0, 2]), np.array([0, 1]), ("a", "b"), ("many", "few"), "").write(path)
    with pytest.raises(InputError, match="of other classes than its 2"):
        Scores.read(path)


def test_classes_are_matched_by_name():
    assert mapped(np.array([2, 0, 1]), ("x", "y", "z"), ("z", "new", "x")).tolist() == [0, 2, -1]
