"""Waiting for a server that does not answer: tried again after growing random waits, for a bounded time."""

import os
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from longtail.errors import InputError

Result = TypeVar("Result")

PATIENCE = "LONGTAIL_PATIENCE"

_SECONDS = 120.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_draws = random.Random()  # of its own, as it draws another number at each outage
_working = False


def patience() -> float:
    """Return for how many seconds a server may be away: LONGTAIL_PATIENCE, else two minutes.

    Raises:
        InputError: If the variable holds no such number.
    """
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text or _SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(f"{PATIENCE} is {text!r}: give the seconds to wait for a server, such as 120, or 0")
    return seconds


@contextmanager
def at_work() -> Generator[None]:
    """Tell that this process is at work that is worth waiting for; before, a wrong address shall be said at once."""
    global _working
    before, _working = _working, True
    try:
        yield
    finally:
        _working = before


def work_patience() -> float:
    """Return `patience` while a step is at work in this process, and 0 otherwise."""
    return patience() if _working else 0.0


def persist(
    call: Callable[[], Result],
    is_outage: Callable[[Exception], bool],
    seconds: float,
    on_wait: Callable[[Exception], None] = lambda error: None,
) -> Result:
    """Return the call's result, calling again while a server is away.

    Args:
        call: What is called; it must not matter if it is carried out twice.
        is_outage: Whether an exception may go away by itself.
        seconds: After this time the exception is raised.
        on_wait: Told the first exception that is waited for.

    Raises:
        Exception: What `call` raised, if it is no outage or lasts too long.
    """
    end, wait, first = time.monotonic() + seconds, _FIRST_WAIT, True
    while True:
        try:
            return call()
        except Exception as error:
            left = end - time.monotonic()
            if left <= 0 or not is_outage(error):
                raise
            if first:
                on_wait(error)
        first = False
        time.sleep(min(left, _draws.uniform(wait / 2, wait)))
        wait = min(2 * wait, _LONGEST_WAIT)
