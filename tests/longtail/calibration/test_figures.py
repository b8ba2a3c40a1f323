import io
import sys
from pathlib import Path

import numpy as np
import pytest

from longtail.calibration.artifact import Samples
from longtail.calibration.figures import borrowing, borrowing_figure, borrowing_rows
from longtail.config import CalibrationConfig
from longtail.features import Features


def make(labels, nearest, counts):
    """Return samples of these classes and the classes that calibrated them, and features of these counts."""
    rows = np.zeros((len(labels), 2), np.float32)
    labels, nearest = np.array(labels, np.int64), np.array(nearest, np.int64)
    samples = Samples(rows, labels, labels, nearest, CalibrationConfig(), True, len(labels) + sum(counts))
    names = tuple(f"class {label}" for label in range(len(counts)))
    return samples, Features(Path(), names, np.array(counts), 0, "")


def make_random(classes):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), np.arange(classes))
    return make(labels, rng.integers(classes, size=(len(labels), 3)), np.arange(classes, 0, -1))


@pytest.fixture
def three():
    # Class 2 has two generated rows, class 1 has one, class 0 is the largest.
    return make([2, 2, 1], [[0, 2], [0, 1], [1, 0]], [9, 8, 7])


def test_borrowing_counts_shares_by_generated_class(three):
    np.testing.assert_allclose(borrowing(three[0], 3), [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.25, 0.25]])


def test_rows_name_the_lenders_smallest_class_first(three):
    assert borrowing_rows(*three) == [
        ["class 2", "7", "2", "class 0 (50%), class 1 (25%), class 2 (25%)"],
        ["class 1", "8", "1", "class 0 (50%), class 1 (50%)"],
    ]


def test_rows_name_four_lenders_at_most():
    samples, features = make([5], [[0, 1, 2, 3, 4, 5]], [9, 9, 9, 9, 9, 8])
    assert borrowing_rows(samples, features)[0][-1] == ", ".join(f"class {label} (17%)" for label in range(4))


def test_classes_run_from_the_largest():
    samples, features = make([0], [[1, 1]], [3, 5, 4])
    axes = borrowing_figure(samples, features).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 1", "class 2", "class 0"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0, 0], [0, 0, 0], [100, 0, 0]])


@pytest.mark.parametrize(("classes", "named"), [(10, True), (150, False)])
def test_figure_renders_without_pyplot(classes, named):
    imported = "matplotlib.pyplot" in sys.modules
    figure, file = borrowing_figure(*make_random(classes)), io.BytesIO()
    figure.savefig(file, dpi=50)
    assert file.getbuffer().nbytes > 2000
    assert any(label.get_text() == "class 1" for label in figure.axes[0].get_xticklabels()) == named
    assert ("matplotlib.pyplot" in sys.modules) == imported


@pytest.mark.filterwarnings("error")
def test_nothing_generated_still_draws():
    samples, features = make([], np.empty((0, 3)), [4, 4])
    assert borrowing_rows(samples, features) == []
    borrowing_figure(samples, features).savefig(io.BytesIO(), dpi=50)
