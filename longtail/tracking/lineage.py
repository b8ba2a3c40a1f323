"""What a pipeline's run says of its steps, also of those whose results other runs made."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from longtail.artifacts import sha256_json
from longtail.tracking.attempts import create_run, is_outage
from longtail.tracking.identity import PARENT_TAG
from longtail.tracking.recording import Run

_LOGGER = logging.getLogger(__name__)


def parent_id(run: Run) -> str:
    """Return the id of the run that a step's run is a child of; empty if it is none, or cannot be read."""
    if not run.run_id:
        return ""
    found = run.attempt("find the pipeline's run", lambda client: client.get_run(run.run_id).data.tags.get(PARENT_TAG))
    return str(found or "")


def record_cached_steps(parent: Run, sources: Mapping[str, str]) -> None:
    """Record the steps that were not executed because their results were in the cache.

    Kubeflow's own MLflow plugin, which sets MLFLOW_RUN_ID, gives them a run itself; then nothing is recorded twice.

    Args:
        parent: The pipeline's run.
        sources: The run that once computed each result, by the step's label.
    """
    if parent.run_id and not os.environ.get("MLFLOW_RUN_ID"):
        for step, source_run_id in sources.items():
            record_cached_step(parent, step, source_run_id)


def record_cached_step(parent: Run, step: str, source_run_id: str) -> None:
    """Record a step that was not executed because its result was in the cache; done again, it leaves what once does.

    Args:
        parent: The pipeline's run, which gets a finished child.
        step: The step's name.
        source_run_id: The run that once computed the result; its metrics are copied if it can still be read.
    """
    key, now = sha256_json([parent.run_id, step])[:32], int(time.time() * 1000)

    def record(client: Any) -> None:
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        tags = {
            PARENT_TAG: parent.run_id,
            "longtail.step": step,
            "longtail.cached": "true",
            "longtail.source_run_id": source_run_id,
        }
        child = create_run(client, parent.experiment_id, key, name=step, tags=tags)
        try:
            metrics = client.get_run(source_run_id).data.metrics if source_run_id else {}
        except MlflowException as error:
            if is_outage(error):
                raise
            _LOGGER.info("the run %s of the cached step %s is gone: its metrics are not copied", source_run_id, step)
            metrics = {}
        entries = [Metric(name, value, now, 0) for name, value in metrics.items()]
        client.log_batch(child, metrics=entries)
        client.set_terminated(child, "FINISHED")

    parent.attempt("record a cached step", record)


def figures(run: Run, sources: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Return the figures that steps logged: name, and address within MLflow's pages, by the step's label.

    Args:
        run: Any run of the same server.
        sources: The run that computed each step's result, by its label.
    """

    def search(client: Any) -> dict[str, list[tuple[str, str]]]:
        from mlflow.exceptions import MlflowException

        found: dict[str, list[tuple[str, str]]] = {}
        for label, run_id in sources.items():
            try:
                names = [file.path for file in client.list_artifacts(run_id)] if run_id else []
            except MlflowException as error:
                if is_outage(error):
                    raise
                continue
            links = [(name, file_page(run.experiment_id, run_id, name)) for name in names if name.endswith(".png")]
            found |= {label: links} if links else {}
        return found

    return run.attempt("find figures", search) or {}


def file_page(experiment_id: str, run_id: str, name: str) -> str:
    """Return the address of a run's file within MLflow's pages."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{name}"


def logged_models(run: Run, source_run_id: str) -> list[str]:
    """Return the URIs of the models that another run logged, `models:/…`; none if it is gone."""

    def search(client: Any) -> list[str]:
        from mlflow.exceptions import MlflowException

        try:
            outputs = client.get_run(source_run_id).outputs if source_run_id else None
        except MlflowException as error:
            if is_outage(error):
                raise
            return []
        return [f"models:/{model.model_id}" for model in outputs.model_outputs] if outputs else []

    return run.attempt("find models", search) or []
