"""C3 on curves that are made up."""

import pytest

from longtail.claims.training_trends import falling


@pytest.fixture
def runs_of(make_run, make_snapshot):
    def make(*curves):
        return [
            make_run(
                *(make_snapshot(epoch, trace, trace / 3, deep=False) for epoch, trace in enumerate(curve)), seed=seed
            )
            for seed, curve in enumerate(curves, 1)
        ]

    return make


def test_fall_after_a_rise(runs_of):
    found = falling(runs_of([2, 200, 100, 50, 20, 10], [2, 50, 150, 60, 20, 9]), "two")
    assert found.verdict == "holds"
    assert found.values["peak_epochs"] == [1, 2]
    assert "peak comes after epoch 1.5 in the mean; up to it the trace rises 86.6" in found.measured
    assert found.measured.endswith("so from the start neither falls")


def test_fall_from_the_start_needs_no_caveat(runs_of):
    found = falling(runs_of([9, 7, 5, 3, 1], [9, 8, 6, 4, 1]), "two")
    assert found.verdict == "holds"
    assert "from the start" not in found.measured


def test_rise_to_the_end(runs_of):
    assert falling(runs_of([1, 2, 3, 4, 5], [1, 2, 4, 8, 9]), "two").verdict == "does not hold"


def test_plateau_after_the_peak(runs_of):
    """A fall at once and then noise: lower than the peak, but no trend."""
    found = falling(runs_of(*[[1, 9, 4, 6, 4.5, 6.5, 4.6, 6.6], [1, 9, 5, 4, 5.5, 4.2, 5.6, 4.4]] * 2), "four")
    assert found.verdict == "does not hold"
    assert found.values["criteria"]["fall"]["met"]
