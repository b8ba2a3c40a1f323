"""Which run a process logs to, said so that another process, later, finds or makes the same one."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longtail.tracking.attempts import create_run
from longtail.tracking.server import sqlite_file

PIPELINE_TAG = "kfp.pipeline_run_id"
PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "longtail.sweep"
"""On a pipeline's run inside a sweep, which is its parent; tells it from a step that carries the pipeline's tag."""
OFFLINE_TAG = "longtail.offline_run_id"
"""On a run that was recorded on disk for a while: its id there, which artifacts of that time refer to."""
SUPERVISOR = "LONGTAIL_SUPERVISOR"
"""Variable with the number of the process on this machine that watches a step, and ends the pipeline's run."""
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open on training runs instead of traces of language models."""
_SETTLE_SECONDS = 1.0
"""Longer than another process takes from finding no parent to having made one."""


@dataclass(frozen=True)
class Identity:
    """A run by what it stands for.

    Attributes:
        name: The run's name; empty makes one from the pipeline's id.
        key: Of `attempts.new_key`, for a run that is made for this process alone.
        pipeline: Whether it stands for the whole pipeline `pipeline_run_id`, and is the same to all who ask.
        pipeline_run_id: The pipeline's own id; a step's run nests below that pipeline's.
        sweep: Id of the sweep's run that a pipeline's nests below.
        started: When it started, in milliseconds since 1970; 0 is when it is made.
        run_id: Of a run that is there already and that somebody else ends; the rest does not matter then.
    """

    name: str = ""
    key: str = ""
    pipeline: bool = False
    pipeline_run_id: str = ""
    sweep: str = ""
    started: int = 0
    run_id: str = ""

    def locate(self, client: Any, experiment_id: str) -> str:
        """Return the id of the run, found or made.

        Args:
            client: An `MlflowClient`.
            experiment_id: Where it is looked for and made.
        """
        if self.run_id:
            return find_run_id(client, self.run_id)
        if self.pipeline:
            sweep = find_run_id(client, self.sweep) if self.sweep else ""
            nesting = {PARENT_TAG: sweep, SWEEP_TAG: sweep} if sweep else {}
            return find_or_create_parent(client, experiment_id, self.pipeline_run_id, self.name, nesting)
        parent = find_or_create_parent(client, experiment_id, self.pipeline_run_id) if self.pipeline_run_id else ""
        tags = {PARENT_TAG: parent} if parent else {}
        return create_run(client, experiment_id, self.key, name=self.name, tags=tags, started=self.started)


def find_run_id(client: Any, run_id: str) -> str:
    """Return the id that a run has on this server: its own, or that of the run that it was sent to.

    Raises:
        MlflowException: If there is no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        for run in client.search_runs(experiments, f"tags.`{OFFLINE_TAG}` = '{run_id}'"):
            return str(run.info.run_id)
        raise


def find_experiment(client: Any, uri: str) -> str:
    """Return the id of the experiment, made if need be; beside an SQLite database its files get a folder of their own.

    Args:
        client: An `MlflowClient` of the tracking server.
        uri: That server's address.
    """
    if experiment_id := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return experiment_id
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "longtail"
    return named_experiment(client, uri, name)


def named_experiment(client: Any, uri: str, name: str) -> str:
    """Return the id of the experiment of a name, made if need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        file = sqlite_file(uri)
        location = (file.parent / "artifacts").as_uri() if file else None
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def find_or_create_parent(
    client: Any, experiment_id: str, pipeline_run_id: str, name: str = "", tags: Mapping[str, str] | None = None
) -> str:
    """Return the pipeline's run, the same one to all processes that ask at the same moment.

    MLflow has no unique tags, so whoever makes a run waits until a run made at the same moment must be visible,
    takes the oldest (by start time, then id) and deletes its own if that is another one.
    """
    if parents := find_parents(client, experiment_id, pipeline_run_id):
        return parents[0]
    tags = {PIPELINE_TAG: pipeline_run_id, **(tags or {})}
    name = name or f"pipeline-{pipeline_run_id[:8]}"
    created = str(client.create_run(experiment_id, tags=tags, run_name=name).info.run_id)
    time.sleep(_SETTLE_SECONDS)
    oldest = find_parents(client, experiment_id, pipeline_run_id)[0]
    if oldest != created:
        client.delete_run(created)
    return oldest


def find_parents(client: Any, experiment_id: str, pipeline_run_id: str) -> list[str]:
    """Return the runs that carry the pipeline's tag and are no child, but of a sweep, oldest first."""
    runs = client.search_runs([experiment_id], f"tags.`{PIPELINE_TAG}` = '{pipeline_run_id}'")
    outer = [run for run in runs if run.data.tags.get(PARENT_TAG) == run.data.tags.get(SWEEP_TAG)]
    return [str(run.info.run_id) for run in sorted(outer, key=lambda run: (run.info.start_time, run.info.run_id))]
