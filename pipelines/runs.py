"""`longtail runs`: the runs on a Kubeflow Pipelines server: list, watch, logs, cancel."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from longtail.errors import InputError
from longtail.steps.registry import EVERY_STEP
from longtail.tracking.redaction import redact
from pipelines.kubeflow import Kubeflow, UnreachableError, add_connection, connect

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
"""How long a server may be away while a run is followed."""


@dataclass(frozen=True)
class Task:
    """A step of a run, or one of its copies in a loop.

    Attributes:
        step: Its name.
        state: Such as RUNNING.
        message: Why it failed, in one line, if the server knows.
        pods: Ids of the pods that it ran in.
    """

    step: str
    state: str
    message: str
    pods: tuple[str, ...]


def add_runs(commands: Any) -> None:
    """Add the subcommand `runs`."""
    parser = commands.add_parser("runs", help="runs on a Kubeflow Pipelines server: list, watch, logs, cancel")
    actions = parser.add_subparsers(required=True, metavar="ACTION", title="actions")
    list_ = actions.add_parser("list", help="the newest runs")
    list_.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: %(default)s)")
    list_.set_defaults(command=_list)
    watch = actions.add_parser("watch", help="follow a run to its end; exit code 1 if it fails")
    watch.set_defaults(command=_watch)
    logs = actions.add_parser("logs", help="what the steps of a run printed")
    logs.add_argument("--step", default="", help="one step, such as backbone_training (default: all)")
    logs.add_argument("--follow", action="store_true", help="go on until the step ends")
    logs.set_defaults(command=_logs)
    cancel = actions.add_parser("cancel", help="end a run")
    cancel.set_defaults(command=_cancel)
    for action in (watch, logs, cancel):
        action.add_argument("run", metavar="RUN_ID", help="id of the run")
    for action in (list_, watch, logs, cancel):
        add_connection(action)


def follow(kubeflow: Kubeflow, run_id: str) -> int:
    """Return 0 if a run succeeds, else 1, after printing its steps as they start and end.

    Raises:
        InputError: If the server refuses, or is away for longer than `PATIENCE_SECONDS`.
    """
    seen: dict[int, Task] = {}
    for run in _polled(kubeflow, run_id):
        for number, task in enumerate(tasks(run)):
            if seen.get(number) != task:
                seen[number] = task
                print(f"{task.state.lower():11} {task.step}", flush=True)
    print(f"run {run_id} {run.state.lower()}")
    if run.state == "SUCCEEDED":
        return 0
    for task in seen.values():
        if task.state == "FAILED":
            print(f"{task.step}: {task.message or 'no reason is given'}", file=sys.stderr)
    if run.error and run.error.message:
        print(f"error: {_one_line(run.error.message)}", file=sys.stderr)
    print(f"to look     {sys.argv[0]} runs logs {run_id}", file=sys.stderr)
    return 1


def tasks(run: Any) -> list[Task]:
    """Return the steps of a run that the server knows of, as they were started."""
    details = list((run.run_details and run.run_details.task_details) or ())
    by_id = {key: task for task in details for key in (task.task_id, task.pod_name) if key}
    found = [task for task in details if (task.display_name or "").replace("-", "_") in EVERY_STEP]
    found.sort(key=lambda task: str(task.start_time or task.create_time or ""))
    return [
        Task(
            step=task.display_name.replace("-", "_"),
            state=task.state or "PENDING",
            message=_one_line(task.error.message) if task.error and task.error.message else "",
            pods=tuple(dict.fromkeys(_pods(task, by_id))),
        )
        for task in found
    ]


def _pods(task: Any, by_id: dict[str, Any]) -> Iterator[str]:
    """Yield the ids of the innermost tasks below a task: the ones that ran in a pod."""
    children = [child.task_id or child.pod_name for child in task.child_tasks or ()]
    if not children and task.pod_name:
        yield task.pod_name
    for child in children:
        if child in by_id:
            yield from _pods(by_id[child], by_id)
        elif child:
            yield child


def _polled(kubeflow: Kubeflow, run_id: str) -> Iterator[Any]:
    """Yield a run again and again until it has ended, also over a time without an answer."""
    answered = time.monotonic()
    while True:
        try:
            run = kubeflow.call(kubeflow.runs.run_service_get_run, run_id)
        except UnreachableError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            yield run
            if run.state in ENDED:
                return
        time.sleep(POLL_SECONDS)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.limit < 1:
        raise InputError(f"--limit is {arguments.limit}: give at least 1")
    kubeflow = connect(arguments)
    found = kubeflow.every(
        kubeflow.runs.run_service_list_runs, "runs", namespace=kubeflow.namespace, sort_by="created_at desc"
    )
    for run in islice(found, arguments.limit):
        started = f"{run.created_at:%Y-%m-%d %H:%M}" if run.created_at else ""
        took = str(run.finished_at - run.created_at).partition(".")[0] if _has_ended(run) else ""
        print(f"{run.run_id:36}  {(run.state or 'pending').lower():9}  {started:16}  {took:>8}  {run.display_name}")
    return 0


def _has_ended(run: Any) -> bool:
    # A run that has not ended carries the first second of 1970.
    return bool(run.created_at and run.finished_at and run.finished_at >= run.created_at)


def _watch(arguments: argparse.Namespace) -> int:
    return follow(connect(arguments), arguments.run)


def _cancel(arguments: argparse.Namespace) -> int:
    kubeflow = connect(arguments)
    kubeflow.call(kubeflow.runs.run_service_terminate_run, arguments.run)
    print(f"run {arguments.run} is being ended")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    step = arguments.step.replace("-", "_")
    if step and step not in EVERY_STEP:
        raise InputError(f"{arguments.step!r} is not a step: choose from {', '.join(sorted(EVERY_STEP))}")
    kubeflow = connect(arguments)
    run = kubeflow.call(kubeflow.runs.run_service_get_run, arguments.run)
    wanted = [task for task in tasks(run) if not step or task.step == step]
    if not wanted:
        raise InputError(f"run {arguments.run} has no {step or 'step'} that started: look again, or at `runs watch`")
    for task in wanted:
        print(f"== {task.step} ({task.state.lower()})", flush=True)
        for pod in task.pods:
            _print_log(kubeflow, arguments, task.step, pod)
    return 0


def _print_log(kubeflow: Kubeflow, arguments: argparse.Namespace, step: str, pod: str) -> None:
    path = f"/apis/v1alpha1/runs/{quote(arguments.run, safe='')}/nodes/{quote(pod, safe='')}/log"
    follow = f"?follow={str(arguments.follow).lower()}"
    try:
        for piece in kubeflow.text(path + follow):
            sys.stdout.write(piece)
        sys.stdout.flush()
    except InputError as error:
        namespace = kubeflow.namespace or "kubeflow"
        labels = f"pipeline/runid={arguments.run},longtail/step={step}"
        raise InputError(
            f"{error}; while the pod exists, ask the cluster: kubectl logs -n {namespace} -l {labels} -c main --tail=-1"
        ) from None


def _one_line(text: str) -> str:
    return " ".join(str(redact(text)).split())[:300]
