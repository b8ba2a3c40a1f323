"""Runs: which one a process logs to, how they nest, and how they end. The only code that knows MLflow's rules.

A process finds its run in one of three ways:

* MLFLOW_RUN_ID is set (Kubeflow Pipelines' own MLflow plugin sets it): log to that run. Whoever made it ends it.
* KFP_RUN_ID is set (from the pod's label): a child, named after the step, of the run that stands for the whole
  pipeline, which is found, or made, by its tag `kfp.pipeline_run_id`.
* Neither: a run of its own.

Every call names its run, so nothing depends on MLflow's global state and MLFLOW_RUN_ID is left alone.
Tracking never fails a step: a server that is away is waited for (LONGTAIL_PATIENCE, two minutes by itself); the first
failure is logged once and turns the rest into no-ops, unless LONGTAIL_TRACKING=strict.
"""

import logging
import os
import re
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.tracking.attempts import create_run, new_key
from longtail.tracking.recording import Located, Run, TrackingError
from longtail.tracking.server import check_tracking_server, connect, home, sqlite_file, tracking_uri

__all__ = [
    "Run",
    "TrackingError",
    "attached_run",
    "check_tracking_server",
    "close_pipeline_run",
    "git_commit",
    "home",
    "pipeline_run",
    "step_run",
    "sweep_run",
    "tracking_uri",
]

_LOGGER = logging.getLogger(__name__)
_SCHEMA_VERSION = 1
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open on training runs instead of traces of language models."""
PIPELINE_TAG = "kfp.pipeline_run_id"
PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "longtail.sweep"
"""On a pipeline's run inside a sweep, which is its parent; tells it from a step that carries the pipeline's tag."""
_SETTLE_SECONDS = 1.0
"""Longer than another process takes from finding no parent to having made one."""


@contextmanager
def sweep_run(name: str, config: Mapping[str, Any]) -> Generator[Run, None, None]:
    """Open a run that those of a sweep's pipelines nest below; `config` says what is swept.

    Yields:
        The run. It ends FINISHED, FAILED after an exception, or KILLED after an interrupt.
    """
    key = new_key()

    def locate() -> Located:
        client = _client()
        experiment = _experiment_id(client)
        return Located(client, create_run(client, experiment, key, name=name), experiment)

    run = Run(locate)
    with _ending(run):
        _describe(run, config, {})
        yield run


@contextmanager
def pipeline_run(
    pipeline_run_id: str, config: Mapping[str, Any], tags: Mapping[str, Any], *, name: str = "", sweep: str = ""
) -> Generator[Run, None, None]:
    """Open the run that stands for a whole pipeline, and end it when the block ends.

    Args:
        pipeline_run_id: The pipeline's own run id; a run tagged with it is opened again.
        config: The resolved configuration, logged as parameters and as `config.json`.
        tags: More tags, such as `dataset_digest`; `git_commit`, `seed` and `schema_version` come by themselves.
        name: The run's name; empty makes one from the id.
        sweep: Id of the sweep's run that it nests below; empty for a pipeline on its own.

    Yields:
        The run. It ends FINISHED, FAILED after an exception, or KILLED after an interrupt.
    """
    _check_pipeline_run_id(pipeline_run_id)
    nesting = {PARENT_TAG: sweep, SWEEP_TAG: sweep} if sweep else {}

    def locate() -> Located:
        client = _client()
        experiment = _experiment_id(client)
        run_id = _find_or_create_parent(client, experiment, pipeline_run_id, name, nesting)
        client.update_run(run_id, status="RUNNING")
        return Located(client, run_id, experiment)

    run = Run(locate)
    with _ending(run):
        _describe(run, config, tags)
        yield run


@contextmanager
def step_run(step: str, config: Mapping[str, Any], tags: Mapping[str, Any]) -> Generator[Run, None, None]:
    """Open the run of one step in its own process, in one of the three ways above.

    Args:
        step: The step's name, which names the run.
        config: The step's resolved configuration, logged as parameters and as `config.json`.
        tags: More tags, such as `dataset_digest`; `git_commit`, `seed` and `schema_version` come by themselves.

    Yields:
        The run. Unless it is somebody else's, it ends FINISHED, FAILED after an exception, or KILLED after an
        interrupt.
    """
    attached, key = os.environ.get("MLFLOW_RUN_ID", ""), new_key()
    pipeline_run_id = os.environ.get("KFP_RUN_ID", "")
    if pipeline_run_id and not attached:
        _check_pipeline_run_id(pipeline_run_id)

    def locate() -> Located:
        client = _client()
        experiment = _experiment_id(client)
        parent = _find_or_create_parent(client, experiment, pipeline_run_id) if pipeline_run_id else ""
        nesting = {PARENT_TAG: parent} if parent else {}
        return Located(client, create_run(client, experiment, key, name=step, tags=nesting), experiment)

    run = attached_run(attached) if attached else Run(locate)
    tags = {"longtail.step": step, **tags}
    if attached:
        _describe(run, config, tags)
        yield run
        return
    with _ending(run):
        _describe(run, config, tags)
        yield run


def attached_run(run_id: str) -> Run:
    """Return a run that another process opened and will end; for an empty id, one that records nothing."""
    if not run_id:
        return Run.silent()

    def locate() -> Located:
        client = _client()
        return Located(client, run_id, client.get_run(run_id).info.experiment_id)

    return Run(locate)


def close_pipeline_run(pipeline_run_id: str, succeeded: bool) -> None:
    """End a pipeline's run from its exit handler, and the runs of steps that were lost with their pod.

    Args:
        pipeline_run_id: The pipeline's own run id.
        succeeded: False ends the run as FAILED.
    """
    _check_pipeline_run_id(pipeline_run_id)

    def locate() -> Located:
        client = _client()
        experiment = _experiment_id(client)
        parents = _parents(client, experiment, pipeline_run_id)
        if not parents:
            raise LookupError(f"no run has the tag {PIPELINE_TAG}={pipeline_run_id}")
        return Located(client, parents[0], experiment)

    def kill_lost_children(client: Any) -> None:
        running = f"tags.`{PARENT_TAG}` = '{run.run_id}' AND attributes.status = 'RUNNING'"
        for child in client.search_runs([run.experiment_id], running):
            client.set_terminated(child.info.run_id, "KILLED")

    run = Run(locate)
    run.attempt("end lost steps", kill_lost_children)
    run.end("FINISHED" if succeeded else "FAILED")


def git_commit() -> str:
    """Return the commit this code was built from or runs from.

    LONGTAIL_GIT_COMMIT (set in container images) wins; else the commit of the source tree, with `-dirty` after
    it if files differ from it; empty for an installed package without either.
    """
    if commit := os.environ.get("LONGTAIL_GIT_COMMIT"):
        return commit
    here = Path(__file__).parent
    try:
        # An installed package may lie inside somebody else's repository, which does not know this file.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        return _git(here, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


@contextmanager
def _ending(run: Run) -> Generator[None, None, None]:
    """End the run as its block ends."""
    try:
        yield
    except Exception:
        run.end("FAILED")
        raise
    except BaseException as error:
        run.end("FINISHED" if isinstance(error, SystemExit) and error.code in {None, 0} else "KILLED")
        raise
    run.end("FINISHED")


def _describe(run: Run, config: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
    known = {"schema_version": _SCHEMA_VERSION, "git_commit": git_commit(), "seed": config.get("seed", "")}
    run.set_tags({**{key: value for key, value in known.items() if value != ""}, **tags})
    run.log_params(config)
    run.log_json(config, "config.json")


def _check_pipeline_run_id(pipeline_run_id: str) -> None:
    # It becomes part of a search filter.
    if not re.fullmatch(r"[\w.-]{1,200}", pipeline_run_id):
        raise InputError(f"pipeline run id {pipeline_run_id!r}: only letters, digits, '_', '.' and '-' are allowed")


def _client() -> Any:
    uri = tracking_uri()
    if file := sqlite_file(uri):
        file.parent.mkdir(parents=True, exist_ok=True)
    # MLflow would repeat a request whose answer was lost without asking whether it was carried out.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return connect(uri)


def _experiment_id(client: Any) -> str:
    """Return the experiment, made if need be; beside an SQLite database its files get a folder of their own."""
    if experiment_id := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return experiment_id
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "longtail"
    found = client.get_experiment_by_name(name)
    if found is None:
        file = sqlite_file(tracking_uri())
        location = (file.parent / "artifacts").as_uri() if file else None
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _find_or_create_parent(
    client: Any, experiment_id: str, pipeline_run_id: str, name: str = "", tags: Mapping[str, str] | None = None
) -> str:
    """Return the pipeline's run, the same one to all processes that ask at the same moment.

    MLflow has no unique tags, so whoever makes a run waits until a run made at the same moment must be visible,
    takes the oldest (by start time, then id) and deletes its own if that is another one.
    """
    if parents := _parents(client, experiment_id, pipeline_run_id):
        return parents[0]
    tags = {PIPELINE_TAG: pipeline_run_id, **(tags or {})}
    name = name or f"pipeline-{pipeline_run_id[:8]}"
    created = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    time.sleep(_SETTLE_SECONDS)
    oldest = _parents(client, experiment_id, pipeline_run_id)[0]
    if oldest != created:
        client.delete_run(created)
    return oldest


def _parents(client: Any, experiment_id: str, pipeline_run_id: str) -> list[str]:
    """Return the runs that carry the pipeline's tag and are no child, but of a sweep, oldest first."""
    runs = client.search_runs([experiment_id], f"tags.`{PIPELINE_TAG}` = '{pipeline_run_id}'")
    outer = [run for run in runs if run.data.tags.get(PARENT_TAG) == run.data.tags.get(SWEEP_TAG)]
    return [run.info.run_id for run in sorted(outer, key=lambda run: (run.info.start_time, run.info.run_id))]
