"""Showing a local run as it goes: a line a step, and what each is doing in between."""

import json
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

SECONDS_BETWEEN_LINES = 10.0
_POLL_SECONDS = 0.2


class Display:
    """Follows a file of events in a thread and prints them to standard error.

    On a terminal, progress stands on one line that is written over; elsewhere it is a plain line every ten seconds.
    A failure is told by whoever gets the exception.

    Args:
        path: The file of events.
        stream: Where to print.
    """

    def __init__(self, path: Path, stream: TextIO = sys.stderr) -> None:
        self.path, self.stream = path, stream
        self.terminal = stream.isatty()
        self.next_line: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.terminal:
            self.stream.write("\r\033[K")
            self.stream.flush()

    def _follow(self) -> None:
        with self.path.open(encoding="utf-8") as file:
            stopping = False
            while not stopping:
                stopping = self._stop.wait(_POLL_SECONDS)
                while line := file.readline():
                    self.show(json.loads(line))

    def show(self, event: dict[str, Any]) -> None:
        """Print one event."""
        step, kind = event["step"], event["kind"]
        if kind == "progress":
            self._progress(step, event["message"])
        elif kind == "finished":
            self._line(f"{step:34} {event['seconds']:8.1f} s")
        elif kind == "warning":
            self._line(f"{step:34} warning: {event['message']}")
        elif kind == "started" and self.terminal:
            self._progress(step, "…")

    def _progress(self, step: str, message: str) -> None:
        if self.terminal:
            self.stream.write(f"\r\033[K{step}: {message}"[:160])
            self.stream.flush()
        elif time.monotonic() >= self.next_line.get(step, 0):
            self.next_line[step] = time.monotonic() + SECONDS_BETWEEN_LINES
            self._line(f"{step:34} {message}")

    def _line(self, text: str) -> None:
        self.stream.write(f"\r\033[K{text}\n" if self.terminal else f"{text}\n")
        self.stream.flush()
