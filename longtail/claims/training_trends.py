"""C3: how trace and top eigenvalue go while a network is trained."""

import math
from collections.abc import Callable, Sequence
from statistics import mean

from longtail.claims.records import Run
from longtail.claims.rules import CLAIMS, Finding, conclude
from longtail.claims.statistics import Course, course, mean_interval, ratio_interval


def falling(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C3.

    Args:
        runs: Networks measured along training, a seed each.
        networks: What they are.
    """
    traces = [_course(run, lambda snapshot: snapshot.trace) for run in runs]
    tops = [_course(run, lambda snapshot: snapshot.top_eigenvalue or 0.0) for run in runs]
    measures = {
        "trace": mean_interval([found.correlation for found in traces], (-1, 1)),
        "top": mean_interval([found.correlation for found in tops], (-1, 1)),
        "fall": ratio_interval([math.log(max(found.fall, 1e-12)) for found in traces]),
        "layers": mean_interval([_falling_layers(run) for run in runs], (0, 1)),
    }
    rises = [found.rise for found in traces]
    remark = f"The peak comes after epoch {mean(found.peak_epoch for found in traces):.3g} in the mean"
    if max(rises) > 1:
        top_rise = ratio_interval([math.log(found.rise) for found in tops])
        remark += (
            f"; up to it the trace rises {ratio_interval([math.log(rise) for rise in rises])}-fold and the top "
            f"eigenvalue {top_rise}-fold, so from the start neither falls"
        )
    values = {"peak_epochs": [found.peak_epoch for found in traces], "trace_rises": rises}
    return conclude("C3", networks, measures, remark=remark, values=values)


def _falling_layers(run: Run) -> float:
    """Return the share of layers whose trace and top eigenvalue both fall after their peaks."""
    threshold = next(entry.threshold for entry in CLAIMS["C3"].criteria if entry.name == "trace")
    falls = []
    for name in run.last.layers:
        trace = _course(run, lambda snapshot, name=name: snapshot.layers[name].trace)
        top = _course(run, lambda snapshot, name=name: snapshot.layers[name].top_eigenvalue)
        falls.append(max(trace.correlation, top.correlation) < threshold)
    return mean(falls)


def _course(run: Run, value: Callable[..., float]) -> Course:
    epochs = [snapshot.epoch for snapshot in run.snapshots]
    return course(epochs, [value(snapshot) for snapshot in run.snapshots])
