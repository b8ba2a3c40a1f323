"""What a step tells the process that watches it: one JSON object a line in the file LONGTAIL_EVENTS names."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from longtail.errors import InputError
from longtail.tracking.identity import SUPERVISOR

EVENTS = "LONGTAIL_EVENTS"

_GRACE_SECONDS = 30

log = logging.getLogger("longtail")


@contextmanager
def step(label: str) -> Generator[None]:
    """Tell of a step's start, log lines and end; turn bad input into exit code 2 and one line."""
    follow_supervisor()
    log_lines(label)
    started = time.monotonic()
    emit(label, "started")
    try:
        yield
    except InputError as error:
        emit(label, "failed", message=str(error), code=2)
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        emit(label, "failed", message=f"{type(error).__name__}: {error}", code=code)
        raise
    emit(label, "finished", seconds=round(time.monotonic() - started, 1))


def emit(label: str, kind: str, **fields: Any) -> None:
    """Append an event, if anybody watches; one write of one line, so that steps may run side by side."""
    path = os.environ.get(EVENTS)
    if not path:
        return
    line = json.dumps({"step": label, "kind": kind, **fields}) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


class _EventHandler(logging.Handler):
    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "progress"
        emit(self.label, kind, message=record.getMessage())


def log_lines(label: str) -> None:
    """Send the library's log lines to standard error and to the watching process."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(logging.Formatter(f"%(asctime)s {label}: %(message)s", "%H:%M:%S"))
    log.handlers = [stream, _EventHandler(label)]
    log.setLevel(logging.INFO)
    log.propagate = False


def follow_supervisor() -> None:
    """End this process when the one that supervises it is gone, so that no orphan goes on writing."""
    supervisor = os.environ.get(SUPERVISOR)
    if not supervisor:
        return

    def watch() -> None:
        while True:
            try:
                os.kill(int(supervisor), 0)
            except ProcessLookupError:
                os.kill(os.getpid(), signal.SIGTERM)  # training writes a checkpoint
                time.sleep(_GRACE_SECONDS)
                os._exit(1)
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()
