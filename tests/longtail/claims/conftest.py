"""Runs as they would be measured, made from numbers that are chosen."""

import pytest

from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
from longtail.claims.records import LayerRecord, Run, Snapshot

SIZES = {"conv1": 150, "conv2": 2400, "fc1": 48000, "fc2": 10080, "head": 840}
MIDDLE_LAYERS = ("conv2", "fc1", "fc2")


def layer(name, trace=1.0, top=0.5, **changes):
    values = {
        "outliers": 10,
        "residual_share": 1e-6,
        "bulk_share": 0.95,
        "distances": {"wasserstein_scaled": 0.01, "curvature_scaled": 0.01, "legacy": 0.01, "others": 0.1},
        "control": 0.5,
    }
    return LayerRecord(**({"parameters": SIZES[name], "trace": trace, "top_eigenvalue": top} | values | changes))


@pytest.fixture
def make_layer():
    return layer


@pytest.fixture
def make_snapshot():
    """Return a function that makes a checkpoint; `layers` are records by name, or changes of all layers."""

    def make(epoch=1, trace=1.0, top=0.5, layers=None, deep=True, **changes):
        given = layers or {}
        if not given or not isinstance(next(iter(given.values())), LayerRecord):
            given = {name: layer(name, trace / 5, top / 2, **given) for name in SIZES}
        values = {"train_loss": 1 / (epoch + 1), "test_error": 5.0, "test_loss": 0.2}
        if deep:
            values |= {"lowest_eigenvalue": 0.0, "gauss_newton_top": top}
        return Snapshot(epoch=epoch, trace=trace, top_eigenvalue=top, layers=given, **(values | changes))

    return make


@pytest.fixture
def make_run(make_snapshot):
    """Return a function that makes a run of snapshots."""

    def make(*snapshots, arm=SGD, seed=1, **changes):
        values = {"network": "lenet on digits, 9 epochs", "classes": 10, "middle": MIDDLE_LAYERS}
        return Run(arm=arm, seed=seed, snapshots=snapshots or (make_snapshot(),), **(values | changes))

    return make


@pytest.fixture
def make_arms(make_run, make_snapshot):
    """Return a function that makes runs of all ways of training with five seeds.

    The trace falls as the square of the loss does, times a factor; a way's `error` and `factor` vary a little by seed.
    """

    def make(error, factor, seconds=None, seeds=(1, 2, 3, 4, 5), jitter=0.1):
        runs = []
        for arm in (SGD, DECAY, ALL, MIDDLE):
            for seed in seeds:
                shift = jitter * (seed - 3)
                snapshots = [
                    make_snapshot(
                        epoch=epoch,
                        train_loss=2.0 * 0.5**epoch,
                        trace=factor[arm] * (1 + shift) * (2.0 * 0.5**epoch) ** 2,
                        test_error=error[arm] + shift,
                        deep=False,
                    )
                    for epoch in range(8 + (arm == SGD))  # one of them goes on to a lower loss
                ]
                spent = (seconds or {}).get(arm, 0.01)
                runs.append(make_run(*snapshots, arm=arm, seed=seed, seconds_per_step=spent, strength=0.5))
        return runs

    return make
