"""C6 and C7 on runs whose truth is planted."""

import pytest

from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
from longtail.claims.generalisation import (
    arms,
    common_loss,
    end_error,
    flatness,
    matched_trace,
    middle_only,
    paired,
)
from longtail.errors import InputError

BETTER = {SGD: 6.0, DECAY: 5.0, ALL: 3.0, MIDDLE: 3.1}
FLATTER = {SGD: 10.0, DECAY: 8.0, ALL: 2.0, MIDDLE: 3.0}
SAME = dict.fromkeys(BETTER, 5.0)


def test_traces_are_compared_where_all_have_the_same_loss(make_arms):
    """One way of training goes on to half the others' loss, where its trace is a quarter of theirs."""
    runs = make_arms(SAME, SAME, jitter=0.0)
    loss = common_loss(runs)
    assert loss == pytest.approx(2 * 0.5**7)
    assert [matched_trace(run, loss) for run in runs] == pytest.approx([5 * loss**2] * len(runs))
    assert min(run.last.trace for run in runs) == pytest.approx(5 * loss**2 / 4)


def test_penalty_that_helps(make_arms):
    found = flatness(make_arms(BETTER, FLATTER), "five seeds")
    assert found.verdict == "holds"
    criteria = found.values["criteria"]
    assert criteria["error"]["value"] == pytest.approx(-3)
    assert criteria["decay"]["value"] == pytest.approx(-2)
    assert criteria["trace"]["value"] == pytest.approx(0.2)
    assert criteria["correlation"]["low"] > 0.5
    assert "Strengths were chosen on validation images" in found.measured
    assert len(found.values["networks"]) == 20


def test_flatter_but_no_better(make_arms):
    """Only the trace that was penalised got smaller; test errors do not follow it."""
    runs = make_arms({SGD: 5.0, DECAY: 4.6, ALL: 5.3, MIDDLE: 5.0}, FLATTER, jitter=0.02)
    found = flatness(runs, "five seeds")
    assert found.verdict == "does not hold"
    assert found.values["criteria"]["trace"]["met"]


def test_traces_all_alike_have_no_correlation(make_arms):
    found = flatness(make_arms(SAME, SAME, jitter=0.0), "five seeds")
    assert found.verdict == "does not hold"
    assert found.values["criteria"]["correlation"] is None


def test_better_but_not_than_weight_decay(make_arms):
    found = flatness(make_arms(BETTER | {DECAY: 2.9}, FLATTER), "five seeds")
    assert found.verdict == "holds partly"
    assert not found.values["criteria"]["decay"]["met"]


def test_middle_layers_as_good_and_cheaper(make_arms):
    runs = make_arms(BETTER, FLATTER, {SGD: 0.01, ALL: 0.03, MIDDLE: 0.02})
    found = middle_only(runs, "five seeds")
    assert found.verdict == "holds"
    assert found.values["criteria"]["cost"]["value"] == pytest.approx(2 / 3)
    assert (
        "A step with all layers takes 3 [3, 3] times one without penalty, with middle layers 2 [2, 2]" in found.measured
    )


@pytest.mark.parametrize(
    ("error", "seconds", "verdict"),
    [(3.1, 0.03, "holds partly"), (4.0, 0.02, "does not hold"), (4.0, 0.04, "does not hold")],
)
def test_middle_layers_worse_or_dearer(make_arms, error, seconds, verdict):
    runs = make_arms(BETTER | {MIDDLE: error}, FLATTER, {SGD: 0.01, ALL: 0.03, MIDDLE: seconds})
    assert middle_only(runs, "five seeds").verdict == verdict


def test_pairs_are_of_the_same_seed(make_arms):
    """Seeds differ by far more than the ways of training do; their differences do not."""
    runs = make_arms(BETTER | {ALL: 5.9}, FLATTER, jitter=0.3)
    found = paired(runs, ALL, SGD, lambda run: run.last.test_error)
    assert (found.low, found.high) == pytest.approx((-0.1, -0.1))


def test_error_at_the_end_is_the_mean_of_three_checkpoints(make_run, make_snapshot):
    errors = [50.0, 2.0, 6.0, 4.0]
    assert end_error(make_run(*(make_snapshot(i, test_error=error) for i, error in enumerate(errors)))) == 4.0
    assert end_error(make_run(make_snapshot(1, test_error=3.0))) == 3.0


def test_missing_partner_is_refused(make_arms):
    runs = [run for run in make_arms(BETTER, FLATTER) if (run.arm, run.seed) != (ALL, 3)]
    with pytest.raises(InputError, match="have runs of different seeds: train both with each seed"):
        flatness(runs, "four and a half seeds")


def test_arms_have_an_order(make_arms):
    runs = make_arms(BETTER, FLATTER)
    assert arms(runs[::-1]) == [SGD, DECAY, ALL, MIDDLE]
    assert arms([run for run in runs if run.arm == ALL]) == [ALL]
