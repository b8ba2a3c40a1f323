"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0

Progress = Callable[[int, int], None]


def progress(label: str, unit: str) -> Progress:
    """Return a function that shows how much is done: call it with (done, total).

    Args:
        label: What is being done.
        unit: What is counted, in the plural.
    """
    return _Bar(label, unit) if sys.stderr.isatty() else _Lines(label, unit)


class _Bar:
    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self.bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.label, unit=f" {self.unit}")
        self.bar.update(done - self.bar.n)
        if done >= total:
            self.bar.close()


class _Lines:
    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self.started = time.monotonic()
        self.next_line = self.started + SECONDS_BETWEEN_LINES
        self.before: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.before is None:
            self.started, self.before = now, done
        if now >= self.next_line and done < total:
            rate = f", {(done - self.before) / (now - self.started):,.1f}/s" if now > self.started else ""
            log.info("%s: %s of %s %s%s", self.label, f"{done:,}", f"{total:,}", self.unit, rate)
            self.next_line = now + SECONDS_BETWEEN_LINES
