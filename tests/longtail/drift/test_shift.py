import numpy as np
import pytest
from scipy import stats

from longtail.drift.shift import Moments, shifts

CLASSES, FEATURES, IMAGES, REFERENCE = 10, 32, 20, 100
SIMULATIONS, LEVEL = 200, 0.05


def sampled(seed, move=0.0, moved=range(CLASSES), smallest=0.0):
    """Return the test of rectified features that depend on each other, of classes of different scale."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(CLASSES, FEATURES, 6)) / np.sqrt(6)
    scales = np.exp(0.4 * generator.normal(size=CLASSES))

    def draw(label, count):
        hidden = generator.normal(size=(count, 6)) @ mixing[label].T
        return scales[label] * np.maximum(hidden + 0.5 * generator.normal(size=(count, FEATURES)), 0)

    then = [draw(label, REFERENCE) for label in range(CLASSES)]
    deviation = np.sqrt(np.mean([rows.var(axis=0) for rows in then], axis=0))
    found = []
    for label, rows in enumerate(then):
        now = draw(label, IMAGES) + move * deviation * (label in moved)
        found.append(Moments.of(str(label), (now - rows.mean(axis=0)) / deviation, REFERENCE))
    return shifts(found, FEATURES, smallest=smallest, level=LEVEL)


def test_nothing_moves_by_chance_at_the_level_that_was_asked_for():
    results = [sampled(seed) for seed in range(SIMULATIONS)]
    false_alarms = sum(whole.moved or any(each.moved for each in classes) for whole, classes in results)
    # Allowed is twice the level: tails of a χ² with few degrees of freedom are approximate.
    assert stats.binomtest(false_alarms, SIMULATIONS, 2 * LEVEL, alternative="greater").pvalue > 0.01
    called = np.mean([whole.p_value < 0.5 for whole, _ in results])
    assert 0.4 < called < 0.6
    assert np.mean([whole.p_value < LEVEL for whole, _ in results]) < 0.1


def test_a_smallest_move_of_half_a_deviation_is_never_reached_by_chance():
    results = [sampled(seed, smallest=0.5) for seed in range(SIMULATIONS)]
    assert sum(whole.moved or any(each.moved for each in classes) for whole, classes in results) <= 1


@pytest.mark.parametrize("move", [0.3, 1.0])
def test_a_move_is_found_and_its_distance_is_unbiased(move):
    results = [sampled(seed, move)[0] for seed in range(60)]
    assert np.mean([whole.moved for whole in results]) > 0.95
    squared = [whole.distance**2 for whole in results]
    error = 4 * np.std(squared) / np.sqrt(len(squared))
    assert abs(np.mean(squared) - move**2) < error


def test_the_class_that_moved_is_named_and_no_other():
    results = [sampled(seed, move=1.0, moved=(3,), smallest=0.5)[1] for seed in range(60)]
    assert np.mean([classes[3].moved for classes in results]) > 0.95
    assert not any(each.moved for classes in results for each in classes if each.name != "3")


def test_moments_are_the_textbook_ones():
    rows = np.random.default_rng(0).normal(size=(7, 4)) + 2
    found, covariance = Moments.of("cat", rows, 50), np.cov(rows.T)
    assert found.squared_mean == pytest.approx(np.sum(rows.mean(axis=0) ** 2))
    assert found.trace == pytest.approx(np.trace(covariance))
    assert found.noise == pytest.approx(1 / 7 + 1 / 50)


def test_traces_are_unbiased():
    generator = np.random.default_rng(0)
    root = generator.normal(size=(5, 5))
    covariance = root @ root.T
    found = [Moments.of("cat", generator.normal(size=(8, 5)) @ root.T, 9) for _ in range(4000)]
    for name, truth in (
        ("trace_of_square", np.trace(covariance @ covariance)),
        ("squared_trace", np.trace(covariance) ** 2),
    ):
        values = np.array([getattr(each, name) for each in found])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))


def test_equal_images_are_no_division_by_zero():
    rows = np.zeros((6, 3))
    whole, classes = shifts([Moments.of("cat", rows, 6)], 3, smallest=0.1, level=0.01)
    assert not whole.moved
    assert classes[0].distance == 0
    assert shifts([Moments.of("cat", rows + 1, 6)], 3, smallest=0.1, level=0.01)[0].moved
