"""The whole method once on the digits, step by step, without a tracking server."""

import importlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from longtail.config import parse
from longtail.steps.execution import Context
from longtail.steps.registry import STEPS
from longtail.tracking.recording import Run

SEED = 3
METHODS = ("baseline", "tailcalib")
SETTINGS: dict[str, dict[str, Any]] = {
    "backbone_training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.1, "augmentation": "crop"},
    "feature_extraction": {"views": 1},
    "classifier_retraining": {"epochs": 1},
    "hessian_analysis": {"probes": 2, "lanczos_steps": 2},
    "evaluation": {"many_above": 60, "few_below": 12},
}


class Done(NamedTuple):
    """Where a step's outputs are, and the metadata that it returned."""

    outputs: dict[str, Path]
    described: dict[str, dict[str, Any]]


def _outputs(step: str, folder: Path) -> dict[str, Path]:
    page = ["report"] if STEPS[step].page else []
    return {name: folder / name for name in [*STEPS[step].outputs, *page]}


def _call(step, folder, inputs, config=None, *, seed=SEED, method="", run=None) -> Done:
    folder.mkdir(parents=True, exist_ok=True)
    settings = parse(STEPS[step].config, SETTINGS.get(step, {}) | (config or {}), STEPS[step].group)
    given = {name: inputs[name] for name in STEPS[step].inputs}
    context = Context(given, _outputs(step, folder), seed, method, run or Run.silent())
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
    return done


@pytest.fixture
def artifacts(dataset, chain) -> dict[str, Any]:
    """What a step can read, by name; a test may change this dict."""
    found: dict[str, Any] = {"dataset": dataset.path}
    for step in ("backbone_training", "feature_extraction", "calibrated_sampling"):
        found |= chain[step].outputs
    found["classifiers"] = [chain[f"classifier_retraining/{name}"].outputs["classifier"] for name in METHODS]
    return found


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Keep the user's own runs and checkpoints out of the tests."""
    for name in list(os.environ):
        if name.startswith(("LONGTAIL_", "MLFLOW_", "KFP_")) or name == "RANK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
