"""What a run's report tells of: the scores of its classifiers, what it was run on, and what each step recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from longtail.artifacts import open_artifact, read_json
from longtail.evaluation import Evaluation
from longtail.evaluation.intervals import Interval, bootstrap_intervals, paired_intervals

_RESULTS = ("longtail.results", 1)
_PREDICTIONS = "predictions.safetensors"

Intervals = Mapping[str, Interval]
"""Lower and upper end of a 95 % interval, by `top1`, `many`, `medium` and `few`."""


@dataclass(frozen=True)
class Facts:
    """What the report of one run is made from.

    Attributes:
        evaluations: Scores by method; the first is the baseline.
        intervals: Of the scores in percent, by method.
        gains: Of the difference to the first classifier in points, by method, without the first.
        train_counts: Training images, or rows, of each class.
        many_above: A class with more training images counts as many-shot.
        few_below: A class with fewer counts as few-shot.
        data: What the steps know of the data; see `longtail.steps.provenance.described_data`.
        lineage: What each step recorded of itself, by label; see `longtail.steps.provenance.record`.
        pipeline_run: Id of this run of the pipeline; a step that recorded another one came from the cache.
    """

    evaluations: Mapping[str, Evaluation]
    intervals: Mapping[str, Intervals]
    gains: Mapping[str, Intervals]
    train_counts: NDArray[np.int64]
    many_above: int
    few_below: int
    data: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pipeline_run: str = ""

    def sentence(self, step: str) -> str:
        """Return what a step found in words; empty if it said nothing or did not run."""
        return str(self.lineage.get(step, {}).get("sentence", ""))

    @property
    def cached(self) -> tuple[str, ...]:
        """Labels of the steps whose results another run had computed, in the order in which those began."""
        return tuple(label for label, made in self.steps.items() if made["pipeline_run"] != self.pipeline_run)

    @property
    def steps(self) -> dict[str, Mapping[str, Any]]:
        """What the steps recorded, in the order in which they began."""
        return dict(sorted(self.lineage.items(), key=lambda entry: entry[1]["started"]))


def read_facts(results: Path, **told: Any) -> Facts:
    """Return the facts of a run.

    Args:
        results: The `results` artifact of its evaluation.
        told: All that is not in it, by the names of `Facts`.

    Raises:
        InputError: If it is no results artifact, or not a whole one.
    """
    manifest = open_artifact(results, *_RESULTS)
    found = read_json(results / "evaluations.json")
    evaluations = {name: Evaluation.from_dict(value) for name, value in found.items()}
    tensors = load_file(results / _PREDICTIONS)
    labels, (first, *others) = tensors["labels"], evaluations
    groups, predicted = evaluations[first].groups, {name: tensors[f"predictions/{name}"] for name in evaluations}
    intervals = {name: bootstrap_intervals(labels, found, groups) for name, found in predicted.items()}
    gains = {name: paired_intervals(labels, predicted[name], predicted[first], groups) for name in others}
    counts = np.array(manifest["train_counts"], dtype=np.int64)
    many_above, few_below = int(manifest["many_above"]), int(manifest["few_below"])
    return Facts(evaluations, intervals, gains, counts, many_above, few_below, **told)
