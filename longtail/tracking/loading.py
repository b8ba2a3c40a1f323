"""Logged and registered models, found by what a person calls them and copied to this machine once."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from longtail.tracking.server import check_tracking_server, connect, home, tracking_uri

Result = TypeVar("Result")

CHAMPION = "champion"
_SCHEME = "models:/"
_LOGGED = re.compile(r"m-[0-9a-f]{32}")
_SHOWN = 20
"""Names that an error lists."""


@dataclass(frozen=True)
class Reference:
    """One model.

    Attributes:
        name: Of the registered model, or of one that is only logged.
        version: Number of the registered version; the id of a model that is only logged.
        uri: `models:/NAME/VERSION`, or `models:/ID`.
    """

    name: str
    version: str
    uri: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def resolve(reference: str) -> Reference:
    """Return the model that is meant.

    Args:
        reference: `NAME` for its champion, `NAME@ALIAS`, `NAME/VERSION`, or a URI that begins with `models:/`.

    Raises:
        InputError: If there is no such model, version or alias, naming those there are; or if the tracking server
            cannot be used.
    """
    rest = reference.removeprefix(_SCHEME).strip("/")
    name, _, version = rest.partition("/")
    name, at, alias = name.partition("@")
    if not name or "/" in version or (at and (version or not alias)):
        raise InputError(f"model {reference!r} is malformed: give NAME, NAME@ALIAS, NAME/VERSION or models:/...")
    check_tracking_server(tracking_uri())
    client = connect(tracking_uri())
    if _LOGGED.fullmatch(rest):
        logged = _found(lambda: client.get_logged_model(rest), reference)
        if logged is not None:
            return Reference(logged.name, rest, f"{_SCHEME}{rest}")
    model = _found(lambda: client.get_registered_model(name), reference)
    if model is None:
        names = [found.name for found in client.search_registered_models(max_results=_SHOWN + 1)]
        raise _missing(f"no registered model is called {name!r}", names)
    if version:
        number = _version(client, reference, name, version)
    else:
        alias = alias or CHAMPION
        number = model.aliases.get(alias)
        if number is None:
            raise _missing(f"model {name!r} has no alias {alias!r}", sorted(model.aliases))
    return Reference(name, str(number), f"{_SCHEME}{name}/{number}")


def download(uri: str) -> Path:
    """Return the folder of a model's files on this machine, copied there once, whole or not at all.

    Args:
        uri: As in a `Reference`.

    Raises:
        InputError: If there is no such model, or its files cannot be read.
    """
    client = connect(tracking_uri())
    rest = uri.removeprefix(_SCHEME)
    target = home() / "models" / (rest if _LOGGED.fullmatch(rest) else _identity(client, uri, rest))
    if target.is_dir():
        return target
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as work:
        try:
            found = Path(download_artifacts(artifact_uri=uri, dst_path=work, tracking_uri=tracking_uri()))
        except Exception as error:  # whatever the store's own library raises
            raise InputError(f"the files of {uri} cannot be read: {_reason(error)}") from None
        if not (found / "MLmodel").is_file():
            raise InputError(f"{uri} holds no MLmodel file: log the model again")
        if found == Path(work):
            found = Path(shutil.copytree(found, Path(work) / "copy"))
        if not target.is_dir():  # unless another process was faster
            os.replace(found, target)
    return target


def _identity(client: Any, uri: str, rest: str) -> str:
    """Return the id of a registered version's model, or a digest of where its files are."""
    name, _, version = rest.partition("/")
    found = _found(lambda: client.get_model_version(name, version), uri)
    if found is None:
        raise InputError(f"there is no {uri}: choose another version")
    source = str(found.source)  # on SQLite the only place that names the logged model
    logged = _LOGGED.search(f"{found.model_id} {source}")
    return logged[0] if logged else hashlib.sha256(source.encode()).hexdigest()


def _version(client: Any, reference: str, name: str, version: str) -> str:
    found = _found(lambda: client.get_model_version(name, version), reference) if version.isdecimal() else None
    if found is None:
        numbers = sorted(int(entry.version) for entry in client.search_model_versions(f"name = '{name}'"))
        raise _missing(f"model {name!r} has no version {version!r}", [str(number) for number in numbers])
    return str(found.version)


def _found(look: Callable[[], Result], reference: str) -> Result | None:
    """Return what is looked for, None if there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return look()
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"}:
            return None
        raise InputError(f"model {reference!r} cannot be looked up: {_reason(error)}") from None


def _missing(what: str, names: list[str]) -> InputError:
    shown = ", ".join(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")
    return InputError(f"{what}: there are {shown or 'none yet'}")


def _reason(error: Exception) -> str:
    return " ".join(str(redact(f"{type(error).__name__}: {error}")).split())[:300]
