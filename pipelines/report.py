"""The page of a whole run: a step of its own in a pipeline, but not in one that runs at every point of a sweep."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from components.run_report.component import run_report
from pipelines.policy import POLICY, apply

_WANTED: ContextVar[bool] = ContextVar("report", default=True)


@contextmanager
def without_report() -> Generator[None]:
    """Leave the step out of pipelines that are being built: a sweep has a page of its own, over all points."""
    token = _WANTED.set(False)
    try:
        yield
    finally:
        _WANTED.reset(token)


def run_page(**artifacts: Any) -> Any:
    """Return the page of the run, or that of its evaluation alone; called while a pipeline is being defined.

    Args:
        artifacts: Inputs of the step `run_report`.
    """
    if not _WANTED.get():
        return artifacts["evaluation_page"]
    reported = run_report(**artifacts)
    apply(reported, POLICY["run_report"])
    return reported.outputs["report"]
