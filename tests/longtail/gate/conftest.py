"""Two models on a long-tailed task, drawn at random."""

import numpy as np
import pytest

from longtail.evaluation.metrics import class_groups
from longtail.gate import Candidate, Scores

COUNTS = np.array([500, 300, 150, 60, 40, 30, 15, 10, 8, 5])
ACCURACY = np.array([0.95, 0.93, 0.9, 0.8, 0.75, 0.7, 0.5, 0.45, 0.4, 0.3])
GROUPS = class_groups(COUNTS, many_above=100, few_below=20)
NAMES = tuple("abcdefghij")


def scores(rng, accuracy, images=50, digest="d" * 64):
    """Return the scores of a model with these accuracies by class, whose errors are its own."""
    labels = np.repeat(np.arange(10), images)
    predictions = np.where(rng.random(len(labels)) < accuracy[labels], labels, (labels + 1) % 10)
    return Scores(labels, predictions, NAMES, GROUPS, digest)


@pytest.fixture
def model():
    """Return a function that draws a candidate: `model(rng, gain of the few-shot classes, images of a class, name)`."""

    def draw(rng, few=0.0, images=50, name="fish/2", curvature=None, others=0.0):
        change = np.where(COUNTS < 20, few, others)
        return Candidate(name, scores(rng, (ACCURACY + change).clip(0, 1), images), curvature or {})

    return draw
