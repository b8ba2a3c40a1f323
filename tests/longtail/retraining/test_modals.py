import numpy as np
import pytest
from scipy import stats

from longtail.retraining import modals
from longtail.retraining.modals import class_deviations, write_perturbed

COUNTS = [30, 8, 2, 1]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), COUNTS))
    scales = rng.uniform(0.1, 3, (4, 5))
    return (scales[labels] * rng.random((len(labels), 5))).astype(np.float32), labels


def write(path, rows, seed_rows, noise, seed=0):
    write_perturbed(path, *rows, np.asarray(seed_rows), noise, np.random.default_rng(seed))
    return np.load(path)


def test_deviations_are_those_of_each_class(rows):
    features, labels = rows
    found = class_deviations(features, labels, 4)
    for label in (0, 1, 2):
        np.testing.assert_allclose(found[label], features[labels == label].std(axis=0, ddof=1), rtol=1e-5)


def test_a_class_of_one_row_has_the_others_mean_deviation(rows):
    found = class_deviations(*rows, 5)
    for label in (3, 4):  # class 4 has no row at all
        np.testing.assert_allclose(found[label], found[:3].mean(axis=0), rtol=1e-6)


def test_without_any_pair_of_rows_there_is_no_noise(tmp_path):
    rows = np.eye(3, dtype=np.float32), np.arange(3)
    assert not class_deviations(*rows, 3).any()
    np.testing.assert_array_equal(write(tmp_path / "x.npy", rows, [2, 0, 0], 5.0), rows[0][[2, 0, 0]])


@pytest.mark.parametrize("block", [1 << 12, 100])
def test_noise_is_normal_in_units_of_the_class_s_deviations(rows, tmp_path, monkeypatch, block):
    monkeypatch.setattr(modals, "_BLOCK_ROWS", block)
    features, labels = rows
    seed_rows = np.repeat(np.arange(41), 50)
    found = write(tmp_path / "x.npy", rows, seed_rows, 0.2)
    assert (found.dtype, found.shape) == (np.float32, (2050, 5))
    white = (found.astype(np.float64) - features[seed_rows]) / (0.2 * class_deviations(*rows, 4)[labels[seed_rows]])
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    correlations = np.corrcoef(white.T) - np.eye(5)
    assert np.abs(correlations).max() < 4 / np.sqrt(len(white))
    assert abs(np.corrcoef(white[1:].ravel(), white[:-1].ravel())[0, 1]) < 4 / np.sqrt(white.size)


def test_without_noise_rows_are_their_seeds(rows, tmp_path):
    np.testing.assert_array_equal(write(tmp_path / "x.npy", rows, [3, 3, 40], 0.0), rows[0][[3, 3, 40]])
    assert write(tmp_path / "none.npy", rows, np.empty(0, np.int64), 1.0).shape == (0, 5)


def test_the_generator_decides(rows, tmp_path):
    one, again, other = (write(tmp_path / f"{i}.npy", rows, [1, 2], 0.1, seed) for i, seed in enumerate((1, 1, 2)))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
