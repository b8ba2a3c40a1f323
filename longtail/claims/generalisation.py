"""C6 and C7: trace and test error of networks that were trained in several ways."""

import math
from collections.abc import Callable, Sequence
from statistics import mean

from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
from longtail.claims.records import Run
from longtail.claims.rules import Finding, conclude
from longtail.claims.statistics import Interval, correlation_interval, mean_interval, value_at_loss
from longtail.errors import InputError

_LAST = 3  # checkpoints that stand for the end of training at a constant rate


def common_loss(runs: Sequence[Run]) -> float:
    """Return the lowest training loss that every run reached: where their traces can be compared.

    A trace goes to zero with the loss, whatever the network, so traces at the end of training compare losses.
    """
    return max(min(snapshot.train_loss for snapshot in run.snapshots) for run in runs)


def matched_trace(run: Run, loss: float) -> float:
    """Return a run's trace when its training loss came down to a level."""
    return value_at_loss(
        [snapshot.train_loss for snapshot in run.snapshots], [snapshot.trace for snapshot in run.snapshots], loss
    )


def end_error(run: Run) -> float:
    """Return the test error at the end, in per cent: the mean over the last checkpoints, as it goes up and down."""
    return mean(snapshot.test_error for snapshot in run.snapshots[-_LAST:])


def flatness(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C6, from runs of all ways of training, with the same seeds for each.

    Raises:
        InputError: If a run of some seed is missing.
    """
    loss = common_loss(runs)
    traces = {(run.arm, run.seed): matched_trace(run, loss) for run in runs}
    measures = {
        "error": paired(runs, ALL, SGD, end_error),
        "decay": paired(runs, ALL, DECAY, end_error),
        "trace": paired(runs, ALL, SGD, lambda run: math.log(traces[run.arm, run.seed])).exponential(),
    }
    if correlation := correlation_interval(list(traces.values()), [end_error(run) for run in runs]):
        measures["correlation"] = correlation
    test_loss = paired(runs, ALL, SGD, lambda run: run.last.test_loss)
    within = _within(runs, traces)
    remark = (
        f"Traces are those at training loss {loss:.3g}; {_errors(runs)}; test loss with penalty less without "
        f"{test_loss}; correlation within ways of training {within or 'undefined'}. Strengths were chosen on "
        f"validation images: {_strengths(runs)}"
    )
    values = {
        "training_loss": loss,
        "networks": [
            {
                "arm": run.arm,
                "seed": run.seed,
                "strength": run.strength,
                "trace": traces[run.arm, run.seed],
                "test_error": end_error(run),
                "test_loss": run.last.test_loss,
                "train_loss": run.last.train_loss,
            }
            for run in runs
        ],
    }
    return conclude("C6", networks, measures, remark=remark, values=values)


def middle_only(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C7, from runs that penalise all and middle layers, with the same seeds.

    Raises:
        InputError: If a run of some seed is missing.
    """
    cost = {arm: paired(runs, arm, SGD, _log_seconds).exponential() for arm in (ALL, MIDDLE)}
    measures = {
        "error": paired(runs, MIDDLE, ALL, end_error),
        "cost": paired(runs, MIDDLE, ALL, _log_seconds).exponential(),
    }
    without = paired(runs, MIDDLE, SGD, end_error)
    remark = (
        f"A step with all layers takes {cost[ALL]} times one without penalty, with middle layers {cost[MIDDLE]} times; "
        f"test error with middle layers less without penalty {without}. Strengths were chosen on validation images: "
        f"{_strengths(runs)}"
    )
    return conclude("C7", networks, measures, remark=remark)


def paired(runs: Sequence[Run], arm: str, other: str, value: Callable[[Run], float]) -> Interval:
    """Return the mean difference of two ways of training over the seeds: same initial weights, same order of images.

    Raises:
        InputError: If one of them lacks a run of some seed.
    """
    found = {name: {run.seed: value(run) for run in runs if run.arm == name} for name in (arm, other)}
    if found[arm].keys() != found[other].keys() or not found[arm]:
        raise InputError(f"{arm} and {other} have runs of different seeds: train both with each seed")
    return mean_interval([found[arm][seed] - found[other][seed] for seed in found[arm]])


def arms(runs: Sequence[Run]) -> list[str]:
    """Return the ways of training that there are runs of, in their usual order."""
    present = {run.arm for run in runs}
    return [arm for arm in (SGD, DECAY, ALL, MIDDLE) if arm in present]


def _log_seconds(run: Run) -> float:
    return math.log(run.seconds_per_step or math.nan)


def _within(runs: Sequence[Run], traces: dict[tuple[str, int], float]) -> Interval | None:
    """Return the correlation of what is left of log trace and test error after each way's own mean."""
    logs, errors = [], []
    for arm in arms(runs):
        own = [run for run in runs if run.arm == arm]
        centre = sum(math.log(traces[arm, run.seed]) for run in own) / len(own)
        middle = sum(end_error(run) for run in own) / len(own)
        logs += [math.log(traces[arm, run.seed]) - centre for run in own]
        errors += [end_error(run) - middle for run in own]
    return correlation_interval(logs, errors)


def _errors(runs: Sequence[Run]) -> str:
    parts = []
    for arm in arms(runs):
        interval = mean_interval([end_error(run) for run in runs if run.arm == arm])
        parts.append(f"{arm} {interval} %")
    return f"test errors: {', '.join(parts)}"


def _strengths(runs: Sequence[Run]) -> str:
    found = {run.arm: run.strength for run in runs if run.strength}
    return ", ".join(f"{arm} {strength:g}" for arm, strength in found.items()) or "none"
