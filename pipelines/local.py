"""The whole pipeline on this machine: Kubeflow's local runner in subprocesses, its cache, progress, tracking."""

import builtins
import contextlib
import io
import json
import logging
import os
import shutil
import threading
import uuid
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from longtail.artifacts import file_digest, sha256_json
from longtail.config import PipelineConfig
from longtail.errors import InputError
from longtail.steps import events
from longtail.steps.provenance import IMAGE
from longtail.steps.registry import EVERY_STEP
from longtail.tracking.identity import SUPERVISOR
from longtail.tracking.run import (
    check_tracking_server,
    close_pipeline_run,
    home,
    pipeline_run,
    tracking_uri,
)
from pipelines.code_digest import code_digest
from pipelines.compiled import arguments, content_digest, specification, used_settings
from pipelines.display import Display

if TYPE_CHECKING:
    from pipelines.containers import Containers

RUNNERS = ("subprocess", "docker")


class StepError(Exception):
    """A step ended with an error of its own.

    Args:
        step: Its label.
        message: Its error, in one line.
        log: File with everything the steps printed.
    """

    def __init__(self, step: str, message: str, log: Path) -> None:
        super().__init__(f"{step} failed: {message}")
        self.log = log


@dataclass(frozen=True)
class Result:
    """What a local run leaves.

    Attributes:
        table: The classifiers side by side.
        results: Folder of the `results` artifact.
        page: HTML page of the whole run.
        models: MLflow URI of the model of each method.
        log: File with everything the steps printed.
        run_id: The MLflow run.
        executed: Labels of the steps that were computed; the report, which always is, is none of them.
        cached: Labels of the steps whose results were in the cache.
        curvature: What balancing did to the curvature of the last layer, in one sentence.
        promotion: What the gate decided, in one sentence; empty if the run does not promote.
    """

    table: str
    results: Path
    page: Path
    models: dict[str, str]
    log: Path
    run_id: str
    executed: tuple[str, ...]
    cached: tuple[str, ...]
    curvature: str
    promotion: str


def run_locally(
    config: PipelineConfig, *, use_cache: bool = True, name: str = "", sweep: str = "", runner: str = RUNNERS[0]
) -> Result:
    """Return the results of running the pipeline here.

    A step is taken from the cache if its settings, the content of its data, its input artifacts and all code it
    can reach are the same as before.

    Args:
        config: The resolved settings.
        use_cache: False computes every step again.
        name: Name of the MLflow run; empty makes one.
        sweep: Id of the MLflow run that it nests below, if this is a point of a sweep.
        runner: One of `RUNNERS`: steps are processes of this machine, or containers of our image.

    Raises:
        InputError: If the tracking server cannot be reached, the data cannot be read or containers cannot run here.
        StepError: If a step failed.
    """
    check_tracking_server(tracking_uri())
    digest = content_digest(config)
    run_id = uuid.uuid4().hex
    folder = home() / "runs" / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}): set LONGTAIL_HOME to another folder") from None
    containers = _containers(config) if runner == "docker" else None
    log, event_file = folder / "steps.log", folder / "events.jsonl"
    event_file.touch()
    environment = {
        "KFP_RUN_ID": run_id,
        "LONGTAIL_HOME": str(home()),
        "MLFLOW_TRACKING_URI": tracking_uri(),
        # Threads that spin while they wait take the processor from the ones they wait for, if others use it too.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        events.EVENTS: str(event_file),
        SUPERVISOR: str(os.getpid()),
    }
    tracked = pipeline_run(run_id, used_settings(config), {"dataset_digest": digest}, name=name, sweep=sweep)
    with _environment(environment), tracked as run:
        try:
            with Display(event_file):
                specification = _local_specification(config, digest, in_containers=containers is not None)
                outputs = _execute(specification, arguments(config, digest), log, use_cache, containers)
        except RuntimeError:
            close_pipeline_run(run_id, succeeded=False)
            raise _failure(event_file, log) from None
        return _finish(run.run_id, outputs, event_file, log)


def _local_specification(config: PipelineConfig, digest: str, *, in_containers: bool) -> str:
    """Return the YAML without what makes sense only elsewhere, and with each step's code in its cache key.

    Retraining logs models, so where they go is part of its key too; backbone training may start from a file, so its
    content is.
    """
    spec = specification(config, digest)[0]
    components = [spec["root"], *spec["components"].values()]
    for task in (task for component in components for task in component.get("dag", {}).get("tasks", {}).values()):
        task.pop("retryPolicy", None)
    for name, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        container.pop("resources", None)
        step = name.removeprefix("exec-").replace("-", "_")
        key = {"LONGTAIL_CODE": code_digest(step)}
        if EVERY_STEP[step].per_method:
            key["LONGTAIL_TRACKED_AT"] = sha256_json(tracking_uri())
        if step == "backbone_training":
            key["LONGTAIL_WEIGHTS"] = file_digest(config.backbone.weights)
        given = [entry for entry in container.get("env", []) if in_containers or entry["name"] != IMAGE]
        container["env"] = given + [{"name": name, "value": value} for name, value in key.items()]
    return yaml.safe_dump(spec)


def _containers(config: PipelineConfig) -> "Containers":
    from components import images
    from pipelines.containers_engine import connect

    return connect(config, images.CPU, list(EVERY_STEP))


def _execute(
    specification: str, values: dict[str, Any], log: Path, use_cache: bool, containers: "Containers | None"
) -> dict[str, Any]:
    from kfp import components, local

    local.init(
        local.DockerRunner() if containers else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(home() / "steps"),
        enable_caching=use_cache,
        cache_root=str(home() / "cache"),
    )
    installed = containers.installed() if containers else contextlib.nullcontext()
    with installed, _SharedLog(log) as stream, _quiet(stream):
        task = components.load_component_from_text(specification)(**values)
    return dict(task.outputs)


def _finish(run_id: str, outputs: dict[str, Any], event_file: Path, log: Path) -> Result:
    """Return the result, with the page of the run beside its log."""
    results, report = Path(outputs["results"].path), outputs["report"]
    page = log.with_name("report.html")
    shutil.copyfile(report.path, page)
    executed = [event["step"] for event in _events(event_file) if event["kind"] == "finished"]
    return Result(
        table=(results / "table.txt").read_text(encoding="utf-8").rstrip("\n"),
        results=results,
        page=page,
        models=report.metadata["models"],
        log=log,
        run_id=run_id,
        executed=tuple(label for label in executed if label != "run_report"),
        cached=tuple(report.metadata["cached"]),
        curvature=report.metadata["curvature"],
        promotion=report.metadata["promotion"],
    )


def _failure(event_file: Path, log: Path) -> Exception:
    """Return the exception for the first step that failed."""
    failed = [event for event in _events(event_file) if event["kind"] == "failed"]
    if failed and failed[0]["code"] == 2:
        return InputError(failed[0]["message"])
    if failed:
        return StepError(failed[0]["step"], failed[0]["message"], log)
    ended = {event["step"] for event in _events(event_file) if event["kind"] == "finished"}
    lost = [event["step"] for event in _events(event_file) if event["kind"] == "started" and event["step"] not in ended]
    return StepError(lost[0] if lost else "the pipeline", "it was killed or could not start", log)


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _SharedLog(io.TextIOWrapper):
    """A text file that threads may write to at the same time; before 3.11.10 Python's own spoils the bytes."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        super().__init__(path.open("wb"), encoding="utf-8")

    def write(self, text: str) -> int:
        with self._lock:
            return super().write(text)

    def flush(self) -> None:
        with self._lock:
            super().flush()


@contextlib.contextmanager
def _quiet(stream: Any) -> Generator[None]:
    """Send everything kfp's local runner prints and logs to a file.

    Its loops run in threads that replace `print` and the root logger's handlers and may put back each other's.
    """
    printer, root = builtins.print, logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stdout(stream), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.handlers = [logging.StreamHandler(stream)]
        try:
            yield
        finally:
            builtins.print = printer
            root.handlers = handlers
            root.setLevel(level)
