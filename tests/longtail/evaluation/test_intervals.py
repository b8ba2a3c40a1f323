import time

import numpy as np
import pytest
from scipy.stats import binom

from longtail.evaluation.intervals import WHOLE, bootstrap_intervals, class_weights, paired_intervals
from longtail.evaluation.metrics import class_groups, evaluate

COUNTS = np.array([500, 200, 50, 10, 5])
GROUPS = class_groups(COUNTS, many_above=100, few_below=20)
LABELS = np.repeat(np.arange(5), 40)


def draw(rng, accuracy, labels=LABELS, size=5):
    right = rng.random(len(labels)) < np.broadcast_to(accuracy, size)[labels]
    return np.where(right, labels, (labels + 1) % size)


def test_the_weights_make_the_accuracies_of_the_evaluation():
    predictions = draw(np.random.default_rng(0), [0.9, 0.8, 0.7, 0.5, 0.4])
    scores, right = evaluate(predictions, LABELS, COUNTS), np.bincount(LABELS[predictions == LABELS], minlength=5)
    for name, weights in class_weights(scores.support, scores.groups).items():
        assert weights @ right == pytest.approx(getattr(scores, name))


def test_an_interval_is_that_of_drawing_images_one_by_one():
    rng, predictions = np.random.default_rng(1), draw(np.random.default_rng(1), 0.7)
    right, found = predictions == LABELS, []
    for _ in range(4000):
        rows = np.concatenate([rng.choice(np.flatnonzero(label == LABELS), 40) for label in range(5)])
        found.append(100 * right[rows].mean())
    low, high = np.quantile(found, [0.025, 0.975])
    centre, wider = 100 * right.mean(), np.sqrt(40 / 39)
    interval = bootstrap_intervals(LABELS, predictions, GROUPS, resamples=4000)[WHOLE]
    assert interval == pytest.approx((centre + (low - centre) * wider, centre + (high - centre) * wider), abs=0.7)


def test_intervals_cover_the_truth_as_often_as_they_say_even_with_two_images_a_class():
    rng, size, trials = np.random.default_rng(2), 30, 400
    labels, accuracy, covered = np.repeat(np.arange(size), 2), np.linspace(0.3, 0.9, size), 0
    for seed in range(trials):
        predictions = draw(rng, accuracy, labels, size)
        low, high = bootstrap_intervals(labels, predictions, ["few"] * size, resamples=300, seed=seed)["few"]
        covered += low <= 100 * accuracy.mean() <= high
    assert binom.ppf(0.001, trials, 0.93) <= covered


def test_paired_intervals_cover_a_difference_and_are_narrow_where_classifiers_agree():
    rng, trials, covered = np.random.default_rng(3), 400, 0
    for seed in range(trials):
        second = draw(rng, 0.6)
        first = np.where(rng.random(len(LABELS)) < 0.25, LABELS, second)  # right on a quarter of the other's errors
        low, high = paired_intervals(LABELS, first, second, GROUPS, resamples=300, seed=seed)["few"]
        covered += low <= 100 * 0.4 * 0.25 <= high
    assert binom.ppf(0.001, trials, 0.95) <= covered <= binom.ppf(0.9999, trials, 0.97)
    assert paired_intervals(LABELS, second, second, GROUPS)["few"] == (0.0, 0.0)


def test_classes_with_one_image_have_a_spread():
    labels = np.arange(50)
    predictions = np.where(labels % 2, labels, (labels + 1) % 50)
    low, high = bootstrap_intervals(labels, predictions, ["few"] * 50)["few"]
    assert low == pytest.approx(50 - 1.96 * 100 * 0.5 / np.sqrt(50), abs=2.5) and high == pytest.approx(
        100 - low, abs=4
    )


def test_a_class_the_other_classifier_does_not_know_and_an_untested_class():
    labels, unknown = np.array([0, 0, 1, 1]), np.array([0, 0, -1, -1])
    found = paired_intervals(labels, labels, unknown, ["many", "few", "medium"])
    assert found == {WHOLE: (50.0, 50.0), "many": (0.0, 0.0), "few": (100.0, 100.0)}


def test_the_seed_decides_and_thousands_of_classes_are_quick():
    rng, size = np.random.default_rng(4), 8000
    labels = np.sort(rng.integers(size, size=100_000))
    predictions = draw(rng, 0.5, labels, size)
    groups = class_groups(rng.integers(1, 200, size), many_above=100, few_below=20)
    started = time.process_time()
    found = bootstrap_intervals(labels, predictions, groups, resamples=500)
    assert time.process_time() - started < 20
    assert found == bootstrap_intervals(labels, predictions, groups, resamples=500)
    assert found != bootstrap_intervals(labels, predictions, groups, resamples=500, seed=1)
    assert set(found) == {WHOLE, "many", "medium", "few"}
