"""Whether a tracking server does all that runs need of it, tried out with a run that is deleted again."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from longtail.tracking.server import sqlite_file, tracking_uri

EXPERIMENT = "longtail-doctor"
_FILE = "probe.txt"


def server_version() -> str:
    """Return the version of the MLflow server at `tracking_uri()`, which must be one with an address.

    Raises:
        InputError: If it does not say.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    uri = tracking_uri()
    try:
        response = http_request(get_default_host_creds(uri), "/version", "GET", max_retries=0, timeout=4)
    except Exception as error:
        raise InputError(f"{redact(uri)} does not answer ({type(error).__name__}): start it") from None
    version = str(response.text).strip()
    if response.status_code != 200 or not version[:1].isdigit():
        raise InputError(f"{redact(uri)} does not tell its version: give the address of an MLflow server")
    return version


def check_artifacts() -> None:
    """Write an artifact to a new run of an experiment of its own, read it back and delete both.

    Raises:
        InputError: If one of them cannot be done.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri())
    content = uuid.uuid4().hex
    with _said("make a run"):
        run_id = client.create_run(_experiment(client), run_name="doctor").info.run_id
    try:
        with _said("write an artifact"):
            client.log_text(run_id, content, _FILE)
        with _said("read an artifact"), tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(run_id, _FILE, folder)
            if Path(path).read_text(encoding="utf-8") != content:
                raise InputError("an artifact came back changed: check the server's --artifacts-destination")
    finally:
        _clean(client, run_id)


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        file = sqlite_file(tracking_uri())
        location = (file.parent / "artifacts").as_uri() if file else None
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _clean(client: Any, run_id: str) -> None:
    """Delete the artifact and the run, but not the experiment: bringing one back brings its deleted runs back too."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with contextlib.suppress(Exception):
        run = client.get_run(run_id)
        get_artifact_repository(run.info.artifact_uri, tracking_uri=tracking_uri()).delete_artifacts(_FILE)
    with contextlib.suppress(Exception):
        client.delete_run(run_id)


@contextlib.contextmanager
def _said(what: str) -> Generator[None]:
    """Turn every failure into one line that says what could not be done."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lines = str(redact(str(error))).splitlines() or [type(error).__name__]
        raise InputError(
            f"{redact(tracking_uri())} lets nobody {what}: {lines[0][:200]}; check the account's permission and the "
            "server's artifact store"
        ) from None
