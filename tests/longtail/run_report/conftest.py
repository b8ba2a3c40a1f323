"""A run as its report sees it: three classes, two classifiers, four steps, one of them from the cache."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from longtail.artifacts import new_artifact, write_json
from longtail.evaluation import evaluate
from longtail.run_report.facts import read_facts

COUNTS = [300, 50, 5]


def made(run, started, seconds, pipeline="p-2", sentence=""):
    """Return what a step records of itself."""
    return {
        "run_id": run,
        "pipeline_run": pipeline,
        "git_commit": "0123456789abcdef-dirty",
        "image": "",
        "seed": 3.0,
        "started": started,
        "seconds": seconds,
        "sentence": sentence,
        "sha256": {"out": "ab" * 32},
    }


@pytest.fixture
def results(tmp_path):
    """A results artifact: of 20 test images of each class, the baseline gets 18, 14, 4 right and crt 17, 15, 12."""
    labels, other = np.repeat([0, 1, 2], 20).astype(np.int32), {}
    for name, right in {"baseline": (18, 14, 4), "crt": (17, 15, 12)}.items():
        wrong = np.concatenate([np.arange(20) >= count for count in right])
        other[name] = np.where(wrong, (labels + 1) % 3, labels).astype(np.int32)
    found = {name: evaluate(predicted, labels, COUNTS).to_dict() for name, predicted in other.items()}
    fields = {"train_counts": COUNTS, "many_above": 100, "few_below": 20}
    with new_artifact(tmp_path / "results", "longtail.results", 1, fields) as folder:
        write_json(folder / "evaluations.json", found)
        tensors = {"labels": labels, **{f"predictions/{name}": value for name, value in other.items()}}
        save_file(tensors, folder / "predictions.safetensors")
    return tmp_path / "results"


@pytest.fixture
def facts(results):
    return read_facts(
        results,
        data={"name": "toys", "splits": {}},
        lineage={
            "evaluation": made("run-4", 40.0, 2.0),
            "data_imbalancing": made("run-1", 10.0, 60.0, pipeline="p-1"),
            "head_curvature": made("", 50.0, 3.5, sentence="Balancing by crt lowers the trace."),
            "promotion": made("run-5", 60.0, 0.5, sentence="Version 2 is the champion: it is better."),
        },
        pipeline_run="p-2",
    )
