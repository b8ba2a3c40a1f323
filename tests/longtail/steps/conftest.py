"""The whole method once on the digits, step by step, without a tracking server."""

import importlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.config import parse
from longtail.steps.execution import Context
from longtail.steps.registry import EVERY_STEP
from longtail.tracking.recording import Run

SEED = 3
METHODS = ("baseline", "tailcalib")
SETTINGS: dict[str, dict[str, Any]] = {
    "backbone_training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.1, "augmentation": "crop"},
    "feature_extraction": {"views": 1},
    "classifier_retraining": {"epochs": 1},
    "hessian_analysis": {"probes": 2, "lanczos_steps": 2},
    "head_curvature": {"probes": 2, "lanczos_steps": 10, "images_per_class": 2},
    "evaluation": {"many_above": 60, "few_below": 12},
}


class Done(NamedTuple):
    """Where a step's outputs are, and the metadata that it returned."""

    outputs: dict[str, Path]
    described: dict[str, dict[str, Any]]


def _outputs(step: str, folder: Path) -> dict[str, Path]:
    page = ["report"] if EVERY_STEP[step].page else []
    return {name: folder / name for name in [*EVERY_STEP[step].outputs, *page]}


def _call(step, folder, inputs, config=None, *, seed=SEED, method="", run=None) -> Done:
    folder.mkdir(parents=True, exist_ok=True)
    settings = parse(EVERY_STEP[step].config, SETTINGS.get(step, {}) | (config or {}), EVERY_STEP[step].group)
    missing = {name for name in EVERY_STEP[step].optional if name not in inputs}
    given = {name: inputs[name] for name in EVERY_STEP[step].inputs if name not in missing}
    context = Context(given, _outputs(step, folder), seed, seed, method, run or Run.silent())
    return Done(context.outputs, importlib.import_module(f"longtail.steps.{step}").run(settings, context))


@pytest.fixture
def call():
    """Return a function that runs a step: `call(step, folder, inputs, config, seed=, method=, run=)`."""
    return _call


@pytest.fixture(scope="session")
def chain(dataset, tmp_path_factory):
    """Outputs and metadata by label of the steps that others read, two methods retrained."""
    root = tmp_path_factory.mktemp("chain")
    done: dict[str, Done] = {}
    found: dict[str, Path] = {"dataset": dataset.path}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_HOME", str(root / "home"))
        for step in ("backbone_training", "feature_extraction", "calibrated_sampling"):
            done[step] = _call(step, root / step, found)
            found |= done[step].outputs
        for method in METHODS:
            label = f"classifier_retraining/{method}"
            done[label] = _call("classifier_retraining", root / label, found, method=method)
        found["classifiers"] = [done[f"classifier_retraining/{method}"].outputs["classifier"] for method in METHODS]
        done["evaluation"] = _call("evaluation", root / "evaluation", found)
    return done


@pytest.fixture
def artifacts(dataset, chain) -> dict[str, Any]:
    """What a step can read, by name; a test may change this dict."""
    found: dict[str, Any] = {"dataset": dataset.path}
    for step in ("backbone_training", "feature_extraction", "calibrated_sampling"):
        found |= chain[step].outputs
    found["classifiers"] = [chain[f"classifier_retraining/{name}"].outputs["classifier"] for name in METHODS]
    found |= chain["evaluation"].outputs
    return found


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """Digits as a table: 64 pixels from 0 to 16 and a label, 178 ... 9 rows of a class, not yet split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    kept = np.concatenate([np.flatnonzero(digits.target == c)[: 9 + 19 * (9 - c)] for c in range(10)])
    path = tmp_path_factory.mktemp("table") / "digits.parquet"
    values = pa.array(digits.data[kept].astype(np.float32).ravel())
    columns = {"pixels": pa.FixedSizeListArray.from_arrays(values, 64), "label": pa.array(digits.target[kept])}
    pq.write_table(pa.table(columns), path, row_group_size=200)
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Keep the user's own runs and checkpoints out of the tests."""
    for name in list(os.environ):
        if name.startswith(("LONGTAIL_", "MLFLOW_", "KFP_")) or name == "RANK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
