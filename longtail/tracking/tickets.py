"""One process at a time, on any machine, by means of the tracking server alone.

MLflow has no lock, but it numbers the versions of a registered model in order, each number once. So the line is a
registered model, `NAME.lock`: a process takes a ticket by making a version, the lowest ticket that is there holds the
lock, and who leaves deletes its own. A ticket of a process that died is deleted by the next in line: at once if it was
of this machine and the process is gone, else when it was not renewed for `LEASE` seconds of the waiter's own clock, as
clocks of machines differ. The holder renews its ticket before each change that the lock protects, and makes none if it
last did so more than half of that time ago, or if its ticket is gone: two never believe that they hold the lock.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from longtail.tracking.attempts import is_outage

LEASE = 120.0
"""Seconds; more than twice what a request may take."""
_LINE = ".lock"
_ABOUT = "A line of processes that wait to change the model, kept by Longtail; a version is the ticket of one."
_SOURCE = "longtail:///ticket"
_POLL_SECONDS = 0.5
_PROCESS = uuid.uuid4().hex
_LOGGER = logging.getLogger(__name__)


class LockLost(RuntimeError):  # noqa: N818
    """This process was taken for dead while it held a lock; nothing was changed since."""


@dataclass
class Ticket:
    """A lock that this process holds."""

    client: Any
    line: str
    number: str
    lease: float
    renewed: float = field(default_factory=lambda: _clock())

    def renew(self) -> None:
        """Say that the holder is alive; to be called before each change.

        Raises:
            LockLost: If it may be another's turn by now.
        """
        from mlflow.exceptions import MlflowException

        now = _clock()
        if now - self.renewed > self.lease / 2:
            raise LockLost(f"the lock {self.line} was held without a sign of life for too long: try again")
        try:
            self.client.set_model_version_tag(self.line, self.number, "renewed", uuid.uuid4().hex)
        except MlflowException as error:
            if is_outage(error):
                raise
            raise LockLost(f"the lock {self.line} was given to another process: try again") from None
        self.renewed = now


@contextmanager
def exclusive(client: Any, name: str, *, lease: float = LEASE) -> Generator[Ticket]:
    """Hold the lock of a registered model; wait for those before.

    A thread that fails half-way, as the server is away, may take the lock again: it gives up its earlier ticket first.

    Args:
        client: An `MlflowClient`.
        name: Name of the registered model, which need not exist.
        lease: Seconds after which a holder on another machine that gives no sign of life is taken for dead.

    Yields:
        The ticket.
    """
    line, owner = f"{name}{_LINE}", f"{_PROCESS}-{threading.get_ident()}"
    _open(client, line)
    for left in _tickets(client, line):
        if left.tags.get("owner") == owner:
            _delete(client, line, left.version)
    tags = {"owner": owner, "place": _place(), "process": str(os.getpid())}
    number = client.create_model_version(line, _SOURCE, tags=tags).version
    try:
        _wait(client, line, number, lease)
        yield Ticket(client, line, number, lease)
    finally:
        with suppress(Exception):  # it is then taken for dead
            _delete(client, line, number)


def _open(client: Any, line: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(line, description=_ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _wait(client: Any, line: str, number: str, lease: float) -> None:
    """Return when a ticket is the first in line."""
    seen, since = None, _clock()
    while True:
        tickets = _tickets(client, line)
        if number not in {ticket.version for ticket in tickets}:
            raise LockLost(f"the place in the line {line} was given to another process: try again")
        first = tickets[0]
        if first.version == number:
            return
        sign = (first.version, first.tags.get("renewed"))
        if sign != seen:
            _LOGGER.info("waiting for the lock %s", line)
            seen, since = sign, _clock()
        if _clock() - since >= lease or _is_gone(first.tags):
            _delete(client, line, first.version)
        else:
            time.sleep(_POLL_SECONDS)


def _tickets(client: Any, line: str) -> list[Any]:
    """Return the versions of a line, lowest number first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{line}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _delete(client: Any, line: str, number: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.delete_model_version(line, number)
    except MlflowException as error:
        if is_outage(error):
            raise  # otherwise another has deleted it


def _place() -> str:
    """Return what tells whether a process number of a ticket means one of this process's neighbours."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _is_gone(tags: dict[str, str]) -> bool:
    """Return whether a ticket is surely of a process that is no more."""
    place = _place()
    if not place or tags.get("place") != place:
        return False
    try:
        os.kill(int(tags["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, ValueError):
        return False
    return False


def _clock() -> float:
    """Return seconds that also pass while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
