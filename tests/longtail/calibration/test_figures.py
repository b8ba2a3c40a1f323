import io
import sys
from pathlib import Path

import numpy as np
import pytest

from longtail.calibration import figures
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


def draw(samples, features):
    return borrowing_figure(borrowing(samples, len(features.class_names)), features)


def table(samples, features):
    return borrowing_rows(borrowing(samples, len(features.class_names)), samples, features)


@pytest.fixture
def three():
    # Class 2 has two generated rows, class 1 has one, class 0 is the largest.
    return make([2, 2, 1], [[0, 2], [0, 1], [1, 0]], [9, 8, 7])


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_borrowing_counts_shares_by_generated_class(three, monkeypatch, chunk):
    monkeypatch.setattr(figures, "_CHUNK_ROWS", chunk)
    shares = borrowing(three[0], 3)
    np.testing.assert_allclose(shares.toarray(), [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.25, 0.25]])
    assert shares.nnz == 5


def test_rows_name_the_lenders_smallest_class_first(three):
    assert table(*three) == [
        ["class 2", "7", "2", "class 0 50%, class 1 25%, itself 25%"],
        ["class 1", "8", "1", "class 0 50%, itself 50%"],
    ]


@pytest.mark.parametrize(("lenders", "end"), [(6, ", 1 other 17%"), (7, ", 2 others 29%"), (5, "")])
def test_rows_name_five_lenders_and_count_the_others(lenders, end):
    row = table(*make([7], [range(lenders)], [9] * 8))[0]
    share = f"{1 / lenders:.0%}"
    assert row[-1] == ", ".join(f"class {label} {share}" for label in range(5)) + end


def test_rows_and_columns_run_from_the_largest_class_and_the_own_one_stands_apart():
    axes = draw(*make([0, 0, 2], [[1, 0], [2, 1], [1, 1]], [3, 5, 4])).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 2 (4)", "class 0 (3)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["itself", "class 1 (5)", "class 2 (4)"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 100, 0], [25, 50, 25]])
    numbers = [text.get_text() for text in axes.texts if text.get_text().isdigit()]
    assert numbers == ["100", "25", "50", "25"]


@pytest.mark.parametrize(("classes", "rows", "columns"), [(10, 9, 10), (150, 30, 44)])
def test_every_row_and_column_shown_has_a_name(classes, rows, columns):
    imported = "matplotlib.pyplot" in sys.modules
    figure, file = draw(*make_random(classes)), io.BytesIO()
    figure.savefig(file, dpi=50)
    axes = figure.axes[0]
    assert file.getbuffer().nbytes > 2000
    assert len(axes.get_yticklabels()) == rows
    assert len(axes.get_xticklabels()) == 1 + columns
    assert axes.get_yticklabels()[-1].get_text() == f"class {classes - 1} (1)"
    assert ("came from other classes" in axes.texts[-1].get_text()) == (classes == 150)
    assert ("matplotlib.pyplot" in sys.modules) == imported


def test_names_and_cells_that_are_shown_are_the_shares():
    samples, features = make_random(150)
    shares = borrowing(samples, 150).toarray()
    axes = draw(samples, features).axes[0]
    columns = [int(label.get_text().split()[1]) for label in axes.get_xticklabels()[1:]]
    rows = [int(label.get_text().split()[1]) for label in axes.get_yticklabels()]
    expected = 100 * shares[np.ix_(rows, columns)]
    expected[np.array(rows)[:, None] == columns] = 0
    np.testing.assert_allclose(axes.images[0].get_array()[:, 1:], expected)
    np.testing.assert_allclose(axes.images[0].get_array()[:, 0], 100 * shares[rows, rows])


@pytest.mark.filterwarnings("error")
def test_nothing_generated_still_draws():
    samples, features = make([], np.empty((0, 3)), [4, 4])
    assert table(samples, features) == []
    draw(samples, features).savefig(io.BytesIO(), dpi=50)
