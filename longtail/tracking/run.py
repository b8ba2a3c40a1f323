"""Runs: which one a process logs to, how they nest, and how they end. The only code that knows MLflow's rules.

A process finds its run in one of three ways:

* MLFLOW_RUN_ID is set (Kubeflow Pipelines' own MLflow plugin sets it): log to that run. Whoever made it ends it.
* KFP_RUN_ID is set (from the pod's label): a child, named after the step, of the run that stands for the whole
  pipeline, which is found, or made, by its tag `kfp.pipeline_run_id`.
* Neither: a run of its own.

Every call names its run, so nothing depends on MLflow's global state and MLFLOW_RUN_ID is left alone.
Tracking never fails a step: a server that is away is waited for (LONGTAIL_PATIENCE, two minutes by itself); then the
failure is logged once and the run goes on in a store on disk, which `longtail sync` sends to the server when it is
back. LONGTAIL_TRACKING=strict makes the failure an error instead, LONGTAIL_TRACKING=off records nothing.
"""

import logging
import os
import re
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.tracking.attempts import new_key
from longtail.tracking.identity import (
    PARENT_TAG,
    PIPELINE_TAG,
    SUPERVISOR,
    Identity,
    find_experiment,
    find_parents,
)
from longtail.tracking.offline import belonging
from longtail.tracking.recording import Located, Run, TrackingError
from longtail.tracking.server import (
    check_tracking_server,
    connect,
    home,
    sqlite_file,
    tracking_mode,
    tracking_uri,
)

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


@contextmanager
def sweep_run(name: str, config: Mapping[str, Any]) -> Generator[Run, None, None]:
    """Open a run that those of a sweep's pipelines nest below; `config` says what is swept.

    Yields:
        The run. It ends FINISHED, FAILED after an exception, or KILLED after an interrupt.
    """
    run = _run(Identity(name, new_key()))
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
    run = _run(Identity(name, pipeline=True, pipeline_run_id=pipeline_run_id, sweep=sweep))
    run.attempt("mark the run as running", lambda client: client.update_run(run.run_id, status="RUNNING"))
    with _ending(run):
        _describe(run, config, tags)
        yield run


@contextmanager
def step_run(
    step: str, config: Mapping[str, Any], tags: Mapping[str, Any], *, last: bool = False
) -> Generator[Run, None, None]:
    """Open the run of one step in its own process, in one of the three ways above.

    Args:
        step: The step's name, which names the run.
        config: The step's resolved configuration, logged as parameters and as `config.json`.
        tags: More tags, such as `dataset_digest`; `git_commit`, `seed` and `schema_version` come by themselves.
        last: Whether the pipeline ends with this step.

    Yields:
        The run. Unless it is somebody else's, it ends FINISHED, FAILED after an exception, or KILLED after an
        interrupt.
    """
    attached = os.environ.get("MLFLOW_RUN_ID", "")
    pipeline_run_id = os.environ.get("KFP_RUN_ID", "")
    if pipeline_run_id and not attached:
        _check_pipeline_run_id(pipeline_run_id)
    run = attached_run(attached) if attached else _run(Identity(step, new_key(), pipeline_run_id=pipeline_run_id))
    tags = {"longtail.step": step, **tags}
    if attached:
        _describe(run, config, tags)
        yield run
        return
    with _ending(run):
        _mark_pipeline(run, "RUNNING")
        _describe(run, config, tags)
        try:
            yield run
        except Exception:
            _mark_pipeline(run, "FAILED")
            raise
        if last:
            _mark_pipeline(run, "FINISHED")


def _mark_pipeline(step: Run, status: str) -> None:
    """Say on the pipeline's run how it stands, where no process watches it: on a cluster.

    A step that failed may be tried again, which makes the pipeline's run RUNNING once more.
    """
    if not os.environ.get("KFP_RUN_ID") or os.environ.get(SUPERVISOR):
        return

    def mark(client: Any) -> None:
        parent = client.get_run(step.run_id).data.tags.get(PARENT_TAG)
        if parent and client.get_run(parent).info.status != status:
            client.update_run(parent, status=status) if status == "RUNNING" else client.set_terminated(parent, status)

    step.attempt("say how the pipeline stands", mark)


def attached_run(run_id: str) -> Run:
    """Return a run that another process opened and will end; for an empty id, one that records nothing."""
    if not run_id:
        return Run.silent()
    return _run(Identity(run_id=run_id))


def close_pipeline_run(pipeline_run_id: str, succeeded: bool) -> None:
    """End a pipeline's run, and the runs of steps that were lost with their pod.

    Args:
        pipeline_run_id: The pipeline's own run id.
        succeeded: False ends the run as FAILED.
    """
    _check_pipeline_run_id(pipeline_run_id)

    def locate() -> Located:
        client = _client()
        experiment = find_experiment(client, tracking_uri())
        parents = find_parents(client, experiment, pipeline_run_id)
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


def _run(identity: Identity) -> Run:
    """Return the run of an identity; one that is there already is somebody else's to end."""
    if tracking_mode() == "off":
        return Run.silent()

    def locate() -> Located:
        client = _client()
        if identity.run_id:
            return Located(client, identity.run_id, client.get_run(identity.run_id).info.experiment_id)
        experiment = find_experiment(client, tracking_uri())
        return Located(client, identity.locate(client, experiment), experiment)

    return Run(locate, belonging(identity, ends=not identity.run_id))
