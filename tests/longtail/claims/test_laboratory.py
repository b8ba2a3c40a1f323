"""Training is replaced where only the bookkeeping is in question."""

import pytest

from longtail.claims import experiment
from longtail.claims.experiment import ALL, DECAY, SGD, STRENGTHS, TUNING_SEEDS, Experiment
from longtail.claims.laboratory import Laboratory
from longtail.claims.measurement import Depth

DEPTH = Depth(images_per_class=1, probes=2, lanczos_steps=2, spectrum_steps=3)


@pytest.fixture
def make_laboratory(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_IMAGES", 4)
    seen = []

    def make(epochs=2):
        plan = Experiment(epochs=epochs, batch_size=20)
        return Laboratory(plan, DEPTH, tmp_path, lambda done, total: seen.append((done, total)))

    make.seen = seen
    return make


@pytest.fixture
def planted(monkeypatch):
    """Replace training and validation: `error` gives the validation error by strength, or nothing to diverge."""
    error, current, calls = {}, {}, []

    def train(classifier, training, validation, recipe, *, seed, on_epoch):
        current["strength"] = recipe.weight_decay or recipe.trace_penalty.weight
        calls.append((current["strength"], seed))
        if error[current["strength"]] is None:
            raise RuntimeError("the loss is nan")
        return [{"train/seconds": 1.0}]

    monkeypatch.setattr("longtail.claims.laboratory.train", train)
    monkeypatch.setattr("longtail.claims.laboratory.errors", lambda *_: (0.1, error[current["strength"]]))
    return error, calls


def test_strength_with_the_least_validation_error_is_taken(make_laboratory, planted, monkeypatch):
    error, calls = planted
    monkeypatch.setitem(STRENGTHS, DECAY, (0.1, 0.2, 0.3))
    error |= {0.1: 4.0, 0.2: 3.0, 0.3: 5.0}
    laboratory = make_laboratory()
    assert laboratory.strength(DECAY) == 0.2
    assert calls == [(strength, seed) for strength in (0.1, 0.2, 0.3) for seed in TUNING_SEEDS]
    assert laboratory.strength(SGD) == 0
    assert laboratory.computed == len(calls) == 6
    again = make_laboratory()
    assert again.strength(DECAY) == 0.2
    assert (len(calls), again.computed) == (6, 0)


def test_strength_that_diverges_is_passed_over(make_laboratory, planted, monkeypatch):
    error, _ = planted
    monkeypatch.setitem(STRENGTHS, ALL, (0.1, 0.2))
    error |= {0.1: 9.0, 0.2: None}
    assert make_laboratory().strength(ALL) == 0.1
    error[0.1] = None
    monkeypatch.setitem(STRENGTHS, ALL, (0.3, 0.4))
    error |= {0.3: None, 0.4: None}
    with pytest.raises(RuntimeError, match="training diverged with every strength of"):
        make_laboratory().strength(ALL)


def test_other_failures_are_not_taken_for_divergence(make_laboratory, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("longtail.claims.laboratory.train", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        make_laboratory().strength(DECAY)


def test_runs_are_measured_once_and_counted(make_laboratory, monkeypatch):
    monkeypatch.setitem(STRENGTHS, DECAY, (0.001,))
    laboratory = make_laboratory(epochs=1)
    runs = laboratory.runs([SGD, DECAY], [1, 2])
    assert [(run.arm, run.seed, run.strength) for run in runs] == [
        (SGD, 1, 0.0),
        (SGD, 2, 0.0),
        (DECAY, 1, 0.001),
        (DECAY, 2, 0.001),
    ]
    assert [[snapshot.epoch for snapshot in run.snapshots] for run in runs] == [[0, 1]] * 4
    assert [[snapshot.deep for snapshot in run.snapshots] for run in runs] == [[False, True]] * 2 + [[False] * 2] * 2
    assert all(run.seconds_per_step > 0 for run in runs)
    assert runs[0].middle == tuple(f"backbone.{name}.weight" for name in ("conv2", "fc1", "fc2"))
    assert make_laboratory.seen[-1] == (4, 4)
    # Both ways of training start from the same weights.
    assert runs[0].snapshots[0].train_loss == runs[2].snapshots[0].train_loss
    again = make_laboratory(epochs=1)
    assert again.runs([SGD, DECAY], [1, 2]) == runs
    assert (laboratory.computed, again.computed) == (4, 0)
    assert make_laboratory.seen[-1] == (4, 4)
