"""A real MLflow on SQLite for each test."""

import json
import os
import shutil

import pytest


@pytest.fixture
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "KFP_", "LONGTAIL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0")


@pytest.fixture
def tracking(tmp_path, empty_database, clean_environment, monkeypatch):
    """Strict tracking to a fresh database; returns a client to read it back with."""
    import mlflow
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    (tmp_path / "offline").mkdir()
    shutil.copy(empty_database, tmp_path / "offline" / f"empty-{mlflow.__version__}.db")
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    monkeypatch.setattr("longtail.tracking.identity._SETTLE_SECONDS", 0.0)
    return MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def dead_port(servers):
    return servers.free_port()


@pytest.fixture
def mlflow_server(tmp_path, empty_database, servers):
    """A real server on loopback, which can be killed and started again."""
    server = servers.Mlflow(tmp_path / "mlflow")
    shutil.copy(empty_database, server.folder / "server.db")
    yield server.start()
    server.kill()


@pytest.fixture
def everything(tracking):
    """Return a function that gives all that an experiment's runs hold, without ids and times."""
    from longtail.tracking.attempts import KEY_TAG

    def read(experiment_id):
        found = {}
        unstable = {KEY_TAG, "longtail.source_run_id", "longtail.sweep", "longtail.offline_run_id"}
        runs = tracking.search_runs([experiment_id])
        names = {run.info.run_id: run.info.run_name for run in runs}
        for run in runs:
            history = {
                name: [(entry.step, entry.value) for entry in tracking.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            }
            own = {
                name: value
                for name, value in run.data.tags.items()
                if (not name.startswith("mlflow.") or name == "mlflow.note.content") and name not in unstable
            }
            parent = names.get(run.data.tags.get("mlflow.parentRunId"))
            inputs = [entry.dataset.name for entry in run.inputs.dataset_inputs]
            models = len(run.outputs.model_outputs) if run.outputs else 0
            files = [file.path for file in tracking.list_artifacts(run.info.run_id)]
            told = (run.info.status, history, run.data.params, own, parent, inputs, models, files)
            found.setdefault(run.info.run_name, []).append(told)
        return json.dumps(found, sort_keys=True), len(tracking.search_logged_models([experiment_id]))

    return read


@pytest.fixture
def log_model():
    """Return a function that logs the smallest classifier there is: of rows of three numbers."""
    import numpy as np

    from longtail.networks import NetworkSpec, build
    from longtail.networks.identity import IDENTITY
    from longtail.serving import ReferenceStatistics
    from longtail.tracking.model import log_classifier

    def log(run, name="crt", **metadata):
        spec = NetworkSpec(IDENTITY, "linear", (1, 1, 3), ("top", "bottom"), (0.0,) * 3, (1.0,) * 3)
        example, reference = np.zeros((2, 3), np.float32), ReferenceStatistics.empty(2, 3)
        return log_classifier(run, build(spec, 0), example, reference, {"method": name, **metadata})

    return log
