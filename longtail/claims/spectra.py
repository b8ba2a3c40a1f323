"""C1, C2, C4 and C5: how the spectra of layers, of the whole network and of the Gauss-Newton matrix compare."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from statistics import mean, median
from typing import Any

from longtail.claims.records import LayerRecord, Run, Snapshot
from longtail.claims.rules import Finding, conclude
from longtail.claims.statistics import Interval, mean_interval, ratio_interval, share_interval
from longtail.hessian.comparison import size_control

TRUE, OF_CURVATURE, LEGACY = "wasserstein_scaled", "curvature_scaled", "legacy"
_TINY = 1e-12  # below any distance of two spectra that differ
_LEAST_LAYERS = 4  # for a partial correlation
_THEOREM = 1e-3  # norm of the rest that is rounding


def resemblance(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C1: distances of layers to the whole, beside those that chance would give."""

    def ratio(reference: Callable[[LayerRecord], float | None]) -> Interval | None:
        logarithms = [
            mean(
                math.log(max(layer.distances[TRUE], _TINY) / max(other, _TINY))
                for snapshot in run.compared
                for layer in snapshot.layers.values()
                if (other := reference(layer)) is not None
            )
            for run in runs
            if any(reference(layer) is not None for layer in run.compared[-1].layers.values())
        ]
        return ratio_interval(logarithms) if logarithms else None

    measures = {
        "distance": ratio(lambda layer: layer.control),
        "others": ratio(lambda layer: layer.distances.get("others")),
        "bulk": mean_interval([mean(map(_median_bulk, run.compared)) for run in runs], (0, 1)),
    }
    return conclude("C1", networks, _present(measures), values={"distance_by_layer": by_depth(runs, TRUE)})


def nearest(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C2: whether the layer nearest to the whole is a middle one, and why it may be."""
    hits, chance = sum(_nearest(run) in run.middle for run in runs), len(runs[0].middle) / len(runs[0].last.layers)
    measures: dict[str, Interval | None] = {
        name: ratio_interval([_middle_over_outer(run, distance) for run in runs])
        for name, distance in (("true", TRUE), ("curvature", OF_CURVATURE), ("legacy", LEGACY))
    }
    measures["nearest"] = share_interval(hits, len(runs)) - chance
    if len(runs[0].last.layers) >= _LEAST_LAYERS:
        controls = [mean(_given_size(snapshot) for snapshot in run.compared) for run in runs]
        measures["size"] = mean_interval(controls, (-1, 1))
    counted = Counter(_argmin(snapshot, TRUE) for run in runs for snapshot in run.compared)
    total = sum(counted.values())
    names = ", ".join(f"{name} {count}" for name, count in counted.most_common(3))
    layers, middle = len(runs[0].last.layers), len(runs[0].middle)
    remark = f"Nearest at {total} checkpoints: {names}; {middle} of {layers} layers are middle ones"
    return conclude("C2", networks, _present(measures), remark=remark, values={"nearest": dict(counted)})


def outliers(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C4, over layers and checkpoints."""
    counted = [[_counts(snapshot) for snapshot in run.compared] for run in runs]
    residual = mean_interval(
        [max(layer.residual_share or 0.0 for each in run.compared for layer in each.layers.values()) for run in runs],
        (0, math.inf),
    )
    measures: dict[str, Interval | None] = {"residual": residual}
    if all(counts for checkpoints in counted for counts in checkpoints):
        gaps = [
            median(abs(count / run.classes - 1) for counts in checkpoints for count in counts)
            for run, checkpoints in zip(runs, counted, strict=True)
        ]
        measures["outliers"] = mean_interval(gaps, (0, math.inf))
        epochs = [snapshot.epoch for snapshot in runs[0].compared]
        medians = [median(count for counts in at_once for count in counts) for at_once in zip(*counted, strict=True)]
        shown = ", ".join(f"{count:g} after epoch {epoch}" for epoch, count in zip(epochs, medians, strict=True))
        remark = f"Median number of outliers for {runs[0].classes} classes: {shown}"
    else:
        remark = "Outliers were not counted: Lanczos needs twice as many steps as there are classes"
    if residual.high < _THEOREM:
        remark += ". That the blocks agree is a theorem for layers between ReLUs, no observation"
    return conclude("C4", networks, _present(measures), remark=remark, values={"outliers": counted})


def gauss_newton(runs: Sequence[Run], networks: str) -> Finding:
    """Return the finding on C5: the checkpoint of each network at which the top eigenvalues are nearest."""
    best = [min(run.compared, key=_top_difference) for run in runs]
    measures = {
        "top": mean_interval([_top_difference(snapshot) for snapshot in best], (0, math.inf)),
        "negative": mean_interval([
            max(0.0, -(snapshot.lowest_eigenvalue or 0.0)) / (snapshot.top_eigenvalue or 1.0) for snapshot in best
        ]),
    }
    ratios: dict[int, list[float]] = {}
    for run in runs:
        for snapshot in run.compared:
            ratios.setdefault(snapshot.epoch, []).append(_top_ratio(snapshot))
    shown = ", ".join(f"{mean(values):.3f} after epoch {epoch}" for epoch, values in sorted(ratios.items()))
    return conclude("C5", networks, measures, remark=f"Gauss-Newton over Hessian: {shown}", values={"ratios": ratios})


def by_depth(runs: Sequence[Run], distance: str) -> dict[str, list[float]]:
    """Return each run's distance of each layer, the mean over its checkpoints, first layer first."""
    return {
        name: [mean(snapshot.layers[name].distances[distance] for snapshot in run.compared) for run in runs]
        for name in runs[0].last.layers
    }


def _median_bulk(snapshot: Snapshot) -> float:
    return median(layer.bulk_share or 0.0 for layer in snapshot.layers.values())


def _middle_over_outer(run: Run, distance: str) -> float:
    """Return the logarithm of the middle layers' mean distance over the others', the mean over checkpoints."""

    def average(snapshot: Snapshot, names: Collection[str]) -> float:
        return mean(max(snapshot.layers[name].distances[distance], _TINY) for name in names)

    outer = [name for name in run.last.layers if name not in run.middle]
    return mean(math.log(average(each, run.middle) / average(each, outer)) for each in run.compared)


def _nearest(run: Run) -> str:
    """Return the layer that is nearest to the whole in the mean over checkpoints."""
    found = by_depth([run], TRUE)
    return min(found, key=lambda name: found[name][0])


def _counts(snapshot: Snapshot) -> list[int]:
    """Return each layer's number of outliers; nothing where they could not be counted."""
    found = [layer.outliers for layer in snapshot.layers.values() if layer.outliers is not None]
    return found if len(found) == len(snapshot.layers) else []


def _argmin(snapshot: Snapshot, distance: str) -> str:
    return min(snapshot.layers, key=lambda name: snapshot.layers[name].distances[distance])


def _given_size(snapshot: Snapshot) -> float:
    """Return the partial rank correlation, 0 where distances go by size so exactly that nothing is left."""
    layers = list(snapshot.layers.values())
    control = size_control([layer.distances[TRUE] for layer in layers], [layer.parameters for layer in layers])
    return control.depth_given_size or 0.0


def _top_ratio(snapshot: Snapshot) -> float:
    return (snapshot.gauss_newton_top or 0.0) / (snapshot.top_eigenvalue or 1.0)


def _top_difference(snapshot: Snapshot) -> float:
    return abs(_top_ratio(snapshot) - 1)


def _present(measures: dict[str, Any]) -> dict[str, Interval]:
    """Return the measures that could be taken."""
    return {name: interval for name, interval in measures.items() if interval is not None}
