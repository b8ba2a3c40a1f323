"""Recurring runs by name: never two of a name that are on, and none that is lost without a word.

Kubeflow can make, switch and delete a recurring run but not change it. A changed one is therefore made anew, switched
off; then the old one is switched off, the new one on, and the old one deleted. Whoever stops in the middle leaves two
of a name, which `unfinished` tells and the same command repairs.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from longtail.errors import InputError
from pipelines.kubeflow import Kubeflow, UnreachableError

_ATTEMPTS = 5
_WAIT_SECONDS = 2.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def recurring_runs(kubeflow: Kubeflow, name: str = "") -> list[Any]:
    """Return the server's recurring runs, those of a name if one is given.

    Raises:
        InputError: If the server cannot be reached or refuses.
    """
    function, field = kubeflow.recurring_runs.recurring_run_service_list_recurring_runs, "recurring_runs"
    if name:
        return kubeflow.named(function, field, name, namespace=kubeflow.namespace)
    return list(kubeflow.every(function, field, namespace=kubeflow.namespace))


def is_on(run: Any) -> bool:
    """Return whether a recurring run starts runs."""
    return run.mode == "ENABLE" or run.status == "ENABLED"


def unfinished(same_name: list[Any]) -> bool:
    """Return whether the recurring runs of one name are what a change that was broken off leaves."""
    return len(same_name) > 1


def upsert(kubeflow: Kubeflow, wanted: Any) -> tuple[Any, bool]:
    """Return the recurring run of a name, switched on, and whether it had to be made.

    Args:
        kubeflow: The connection.
        wanted: What it should be.

    Raises:
        InputError: If the server cannot be reached or refuses; what was on before still is, or the message says so.
    """
    existing = recurring_runs(kubeflow, wanted.display_name)
    before = [run for run in existing if is_on(run)]
    if len(existing) == len(before) == 1 and _content(existing[0]) == _content(wanted):
        return existing[0], False
    wanted.mode = "DISABLE"
    new = kubeflow.call(kubeflow.recurring_runs.recurring_run_service_create_recurring_run, wanted)
    with _uninterrupted():
        _switch(kubeflow, new, before)
    for run in existing:
        delete(kubeflow, run)
    return new, True


def switch_on(kubeflow: Kubeflow, run: Any) -> None:
    """Switch a recurring run on."""
    _insist(kubeflow, kubeflow.recurring_runs.recurring_run_service_enable_recurring_run, run)


def switch_off(kubeflow: Kubeflow, run: Any) -> None:
    """Switch a recurring run off."""
    _insist(kubeflow, kubeflow.recurring_runs.recurring_run_service_disable_recurring_run, run)


def delete(kubeflow: Kubeflow, run: Any) -> None:
    """Delete a recurring run; the runs that it started stay."""
    _insist(kubeflow, kubeflow.recurring_runs.recurring_run_service_delete_recurring_run, run)


def _switch(kubeflow: Kubeflow, new: Any, before: list[Any]) -> None:
    """Switch from old recurring runs to a new one; if the server refuses the new one, back again."""
    try:
        for run in before:
            switch_off(kubeflow, run)
        switch_on(kubeflow, new)
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}; {new.display_name!r} may be switched off: run the same command again"
        ) from None
    except InputError:
        delete(kubeflow, new)
        for run in before:
            switch_on(kubeflow, run)
        raise


def _insist(kubeflow: Kubeflow, function: Callable[..., Any], run: Any) -> None:
    """Ask for what may be asked for twice until the server answers, for a while."""
    for attempt in range(_ATTEMPTS):
        try:
            kubeflow.call(function, run.recurring_run_id)
            return
        except UnreachableError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_WAIT_SECONDS * 2**attempt)


def _content(run: Any) -> tuple[Any, ...]:
    """Return what makes two recurring runs of a name the same."""
    cron = run.trigger and run.trigger.cron_schedule
    pinned, runtime = run.pipeline_version_reference, run.runtime_config
    return (
        cron and cron.cron,
        pinned and pinned.pipeline_version_id,
        (runtime and runtime.pipeline_root) or "",
        run.experiment_id,
        run.description,
        run.service_account or "",
        str(run.max_concurrency),
        bool(run.no_catchup),
    )


@contextlib.contextmanager
def _uninterrupted() -> Generator[None]:
    """Let signals that would end the process wait until the block ends; only its main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.signal(number, lambda came, _: received.append(came)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
