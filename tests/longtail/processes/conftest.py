"""A training of the digits by the step, in this process or by a group."""

import os

import pytest

from longtail.artifacts import read_json
from longtail.networks import load
from longtail.steps import Artifact, run_step

SETTINGS = {
    "network": "lenet",
    "head": "linear",
    "epochs": 2,
    "batch_size": 190,
    "learning_rate": 0.1,
    "schedule": "constant",
    "momentum": 0.0,
    "augmentation": "none",
    "precision": "float32",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Keep the user's own runs, stores and checkpoints out of the tests."""
    for name in list(os.environ):
        if name.startswith(("LONGTAIL_", "MLFLOW_", "KFP_", "AWS_")) or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LONGTAIL_TRACKING", "off")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def train(dataset, monkeypatch):
    """Return a function that runs the step and gives its network, manifest and metadata."""

    def call(folder, home=None, **settings):
        monkeypatch.setenv("LONGTAIL_HOME", str(home or folder / "home"))
        folder.mkdir(parents=True, exist_ok=True)
        outputs = {name: Artifact(str(folder / name)) for name in ("backbone", "report")}
        given = {"dataset": Artifact(str(dataset.path))}
        run_step("backbone_training", config=SETTINGS | settings, inputs=given, outputs=outputs, seed=1)
        classifier, _ = load(folder / "backbone")
        return classifier, read_json(folder / "backbone" / "manifest.json"), outputs["backbone"].metadata

    return call


@pytest.fixture
def use_kubeconfig(monkeypatch):
    """Return a function that points this process at a kubeconfig, whether its client has read the variable or not."""

    def use(path):
        monkeypatch.setenv("KUBECONFIG", str(path))
        for module in ("kubernetes.config", "kubernetes.config.kube_config"):
            monkeypatch.setattr(f"{module}.KUBE_CONFIG_DEFAULT_LOCATION", str(path))

    return use
