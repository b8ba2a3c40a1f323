import math

import pytest

from longtail.training.schedule import learning_rate

PROGRESS = [0.0, 0.1, 0.25, 0.5, 0.9, 0.999]


@pytest.mark.parametrize("progress", PROGRESS)
def test_constant(progress):
    assert learning_rate("constant", 0.2, progress, 0.3) == pytest.approx(0.2)


@pytest.mark.parametrize("progress", PROGRESS)
def test_cosine_falls_from_the_peak_to_zero(progress):
    expected = 0.2 * (1 + math.cos(math.pi * progress)) / 2
    assert learning_rate("cosine", 0.2, progress, 0.3) == pytest.approx(expected, rel=1e-12)


def test_cosine_at_known_places():
    rates = [learning_rate("cosine", 0.2, progress) for progress in (0, 1 / 3, 1 / 2, 2 / 3, 1)]
    assert rates == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.0])


def test_onecycle_at_known_places():
    places = {0.0: 0.002, 0.001: 0.002, 0.05: 0.05, 0.1: 0.1, 0.2: 0.2, 0.6: 0.1, 1.0: 0.0}
    for progress, expected in places.items():
        assert learning_rate("onecycle", 0.2, progress, 0.2) == pytest.approx(expected), progress


def test_onecycle_is_continuous_at_the_peak():
    below, above = (learning_rate("onecycle", 0.2, 0.2 + step, 0.2) for step in (-1e-9, 1e-9))
    assert below == pytest.approx(above, abs=1e-8)


@pytest.mark.parametrize("progress", PROGRESS)
def test_onecycle_without_warmup_is_cosine_and_with_nothing_else_a_line(progress):
    assert learning_rate("onecycle", 0.2, progress, 0.0) == learning_rate("cosine", 0.2, progress)
    assert learning_rate("onecycle", 0.2, progress, 1.0) == pytest.approx(0.2 * max(progress, 0.01))
