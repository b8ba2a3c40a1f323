import numpy as np
import pytest

from longtail.evaluation.metrics import evaluate


def _draw(size, methods=3, skip=None, largest=500):
    generator = np.random.default_rng(0)
    counts = generator.permutation(np.geomspace(largest, 5, size).astype(np.int64))
    labels = np.repeat(np.arange(size), 10)
    labels = labels[labels != skip]
    evaluations = {}
    for method in range(methods):
        right = generator.random(labels.size) < 0.3 + 0.2 * method
        predictions = np.where(right, labels, generator.integers(size, size=labels.size))
        evaluations[f"method {method}"] = evaluate(predictions, labels, counts)
    return evaluations, counts, [f"class {label}" for label in range(size)]


@pytest.fixture
def draw():
    """Return evaluations, counts and names of a shuffled class order, so that a figure that forgets to sort fails."""
    return _draw


@pytest.fixture
def texts():
    """Return a function that lists what is written into axes."""
    return lambda axes: [text.get_text() for text in axes.texts]
