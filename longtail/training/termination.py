"""SIGTERM as something to look at between two steps, as a checkpoint is only whole there."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGTERM_EXIT = 128 + signal.SIGTERM


@contextmanager
def sigterm_flag() -> Generator[list[int]]:
    """Yield a list that becomes non-empty when SIGTERM arrives."""
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
