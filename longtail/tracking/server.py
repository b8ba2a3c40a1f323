"""Where the tracking server is, and whether it can be used, found out before any work starts."""

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from longtail.errors import InputError
from longtail.tracking.redaction import redact

_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql")
_TIMEOUT_SECONDS = 4
_CLIENT_DEFAULTS = {
    # MLflow's own defaults keep retrying a dead server for minutes in every call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # a server answers when it has passed a model on to its own store
    # Its news about creating a database is none to the user.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Standard output belongs to the command's own result.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing about a user's runs leaves for a third party unless they say so.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def home() -> Path:
    """Return the folder of everything kept between local runs: LONGTAIL_HOME, else `.longtail` here."""
    return Path(os.environ.get("LONGTAIL_HOME") or ".longtail").absolute()


def durable_place() -> str:
    """Return the folder or `s3://` address that outlives this machine, LONGTAIL_CHECKPOINTS; empty if there is none."""
    return os.environ.get("LONGTAIL_CHECKPOINTS", "")


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, else an SQLite file in `home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{home() / 'mlflow.db'}"


def tracking_mode() -> str:
    """Return LONGTAIL_TRACKING: `strict` makes a lost server an error, `off` records nothing; empty by itself.

    Raises:
        InputError: If it is something else.
    """
    mode = os.environ.get("LONGTAIL_TRACKING", "")
    if mode not in {"", "strict", "off"}:
        raise InputError(f"LONGTAIL_TRACKING is {mode!r}: give strict, off or nothing")
    return mode


def sqlite_file(uri: str) -> Path | None:
    """Return the absolute path of an SQLite tracking database; None for any other kind of server."""
    if not uri.startswith(_SQLITE):
        return None
    path = unquote(uri.removeprefix(_SQLITE).partition("?")[0])
    return Path(path).absolute() if path else None


def connect(uri: str) -> Any:
    """Return an `MlflowClient` of a tracking server, one that gives up on a dead server soon."""
    for name, value in _CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def check_tracking_server(uri: str) -> None:
    """Check within seconds that a tracking server can be used.

    Args:
        uri: `http(s)://HOST:PORT`, `sqlite:///FILE`, or a database address that MLflow accepts.

    Raises:
        InputError: If it is malformed, does not answer, refuses the credentials or cannot be written to.
    """
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in {"http", "https"}:
        _check_http(uri)
    elif scheme == "sqlite":
        _check_sqlite(uri)
    elif scheme in _DATABASES:
        _check_database(uri)
    else:
        raise InputError(
            f"tracking server {redact(uri)!r} has an unknown scheme: give http(s)://HOST:PORT, sqlite:///FILE "
            "or postgresql+psycopg2://... in MLFLOW_TRACKING_URI"
        )


def _check_http(uri: str) -> None:
    """Ask for one experiment as the client will: with the user's credentials and TLS settings."""
    shown = redact(uri)
    try:
        parts = urlsplit(uri)
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host")
    except ValueError as error:
        raise InputError(f"tracking server {shown!r} is malformed ({error}): give http(s)://HOST:PORT") from None
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        response = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "GET",
            params={"max_results": 1},
            max_retries=0,
            timeout=_TIMEOUT_SECONDS,
            raise_on_status=False,
        )
    except Exception as error:
        reason = type(error.__cause__ or error).__name__
        raise InputError(
            f"tracking server {shown!r} does not answer ({reason}): start it, or correct MLFLOW_TRACKING_URI"
        ) from None
    _check_status(shown, response.status_code, response.text)


def _check_status(shown: str, status: int, body: str) -> None:
    if status == 403 and "host header" in body.lower():
        raise InputError(
            f"tracking server {shown!r} refuses this host name (403): add it to the server's --allowed-hosts"
        )
    if status in {401, 403}:
        raise InputError(
            f"tracking server {shown!r} refuses the credentials ({status}): set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if status != 200 or ('"experiments"' not in body and body.strip() != "{}"):
        raise InputError(
            f"tracking server {shown!r} does not speak MLflow (status {status}): give the address of an MLflow server"
        )


def _check_sqlite(uri: str) -> None:
    file = sqlite_file(uri)
    if file is None:
        raise InputError(f"tracking server {uri!r} names no file: give sqlite:///FILE")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
        if file.exists():
            with file.open("rb+") as handle:
                header = handle.read(16)
            if header not in {b"", b"SQLite format 3\0"}:
                raise InputError(f"tracking server {uri!r}: {file} is not an SQLite database; give another file")
    except OSError as error:
        raise InputError(
            f"tracking server {uri!r} cannot be written ({error.strerror}): give sqlite:///FILE in a writable folder"
        ) from None


def _check_database(uri: str) -> None:
    shown = redact(uri)
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": _TIMEOUT_SECONDS})
        with engine.connect():
            pass
        engine.dispose()
    except Exception as error:
        reason = type(error).__name__
        raise InputError(
            f"tracking server {shown!r} cannot be opened ({reason}): check the address, the credentials and the driver"
        ) from None
