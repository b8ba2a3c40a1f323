"""Calls to a tracking server that may have to be made twice: when that helps, and so that nothing is recorded twice."""

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from longtail.retries import patience, persist
from longtail.tracking.redaction import redact

Result = TypeVar("Result")

KEY_TAG = "longtail.run_key"
"""On a run: what it is found by if the answer to its creation was lost."""

_LOGGER = logging.getLogger(__name__)
_STATUS = re.compile(r"failed with error code (\d{3})\b")


def persistently(call: Callable[[], Result]) -> Result:
    """Return the call's result, calling again while the server is away, as long as `longtail.retries.patience` says.

    Args:
        call: May be carried out twice without harm.
    """
    seconds = patience()

    def waiting(error: Exception) -> None:
        reason = " ".join(str(redact(f"{type(error).__name__}: {error}")).split())[:200]
        _LOGGER.warning("the tracking server is away (%s): trying again for %.0f s", reason, seconds)

    return persist(call, is_outage, seconds, waiting)


def is_outage(error: Exception) -> bool:
    """Return whether an error of MLflow's client may go away by itself: no answer, or one that says so."""
    from mlflow.exceptions import MlflowException, RestException
    from requests import exceptions

    if isinstance(error, RestException):
        return _is_transient(int(error.get_http_status_code()))
    if isinstance(error, MlflowException):
        if status := _STATUS.search(str(error)):
            return _is_transient(int(status[1]))
        return isinstance(cause := error.__cause__ or error.__context__, Exception) and is_outage(cause)
    if isinstance(error, exceptions.HTTPError):
        return error.response is not None and _is_transient(error.response.status_code)
    broken = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError, exceptions.RetryError)
    return isinstance(error, broken) and not isinstance(error, exceptions.SSLError)


def new_key() -> str:
    """Return a key for a run that is about to be created."""
    return uuid.uuid4().hex


def create_run(
    client: Any, experiment_id: str, key: str, *, name: str, tags: Mapping[str, str] | None = None, started: int = 0
) -> str:
    """Return the id of the run with a key, which is created unless an earlier attempt has created it.

    Args:
        client: An `MlflowClient`.
        experiment_id: The run's experiment.
        key: From `new_key`, the same at every attempt.
        name: The run's name.
        tags: More tags.
        started: Milliseconds since 1970; 0 is now.
    """
    for run in client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{key}'"):
        return str(run.info.run_id)
    created = client.create_run(experiment_id, started or None, {KEY_TAG: key, **(tags or {})}, name)
    return str(created.info.run_id)


def _is_transient(status: int) -> bool:
    return status >= 500 or status in {408, 429}
