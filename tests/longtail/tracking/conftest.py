"""A real MLflow on SQLite for each test; the schema, which takes two seconds, is made once."""

import contextlib
import os
import shutil

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    with contextlib.chdir(file.parent):  # where the files of MLflow's default experiment will go
        MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


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
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    monkeypatch.setattr("longtail.tracking.run._SETTLE_SECONDS", 0.0)
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
