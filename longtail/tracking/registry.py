"""Models in MLflow's registry: versions with what they were made from, and which of them is in use."""

import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.gate.scores import Scores
from longtail.tracking.attempts import is_outage
from longtail.tracking.identity import find_run_id
from longtail.tracking.redaction import redact
from longtail.tracking.server import connect, tracking_uri
from longtail.tracking.tickets import LockLost, exclusive

CHALLENGER, CHAMPION = "challenger", "champion"
IDENTITY = ("dataset_digest", "config_digest", "git_commit", "method", "seed")
"""Tags of a version that tell whether a model is there already."""
CURVATURE = ("trace", "top_eigenvalue", "head_trace", "head_top_eigenvalue")
"""Tags with the curvature of the trained network and of the retrained classifier's last layer."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_FOLDER = "gate"


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: Name of the registered model.
        number: Number of the version.
        uri: `models:/...` of the logged model that it is.
        run_id: MLflow run that made it.
        tags: What is known of it.
    """

    name: str
    number: int
    uri: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def label(self) -> str:
        """Name and number, such as `fish/3`."""
        return f"{self.name}/{self.number}"

    @property
    def curvature(self) -> dict[str, float]:
        """Those of `CURVATURE` that are known."""
        return {name: float(self.tags[name]) for name in CURVATURE if name in self.tags}


def registry() -> Any:
    """Return an `MlflowClient` of the tracking server, which keeps the registry too."""
    # With a database for a server, MLflow itself looks a model up by this variable.
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri())
    return connect(tracking_uri())


@contextmanager
def named_failures() -> Generator[None]:
    """Turn what a server or a lock fails with into one line that names it.

    Yields:
        Nothing.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, LockLost, OSError) as error:
        reason = " ".join(str(redact(f"{type(error).__name__}: {error}")).split())[:300]
        raise InputError(f"the registry at {redact(tracking_uri())} failed: {reason}; try again") from None


def check_name(name: str) -> None:
    """Raise `InputError` if a registered model cannot have this name."""
    if not _NAME.fullmatch(name) or name.endswith(".lock"):
        raise InputError(
            f"promotion.model is {name!r}: give up to 100 letters, digits, '_', '.' and '-', the first a letter or "
            "digit, and not '.lock' at the end"
        )


def champion(client: Any, name: str) -> Version | None:
    """Return the version in use, None if there is none."""
    return by_alias(client, name, CHAMPION)


def by_alias(client: Any, name: str, alias: str) -> Version | None:
    """Return the version that an alias points to, None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def numbered(client: Any, name: str, number: int) -> Version:
    """Return a version by its number.

    Raises:
        InputError: If there is none; those that are there are named.
    """
    found = versions(client, name)
    for version in found:
        if version.number == number:
            return version
    known = f"choose from {', '.join(str(version.number) for version in found)}" if found else "it has no versions"
    raise InputError(f"{name} has no version {number}: {known}")


def versions(client: Any, name: str, **tags: str) -> list[Version]:
    """Return the versions of a model that have these tags, lowest number first."""
    wanted = [f"name = '{name}'", *(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())]
    found: list[Version] = []
    token = None
    while True:
        page = client.search_model_versions(" and ".join(wanted), page_token=token)
        found += map(_version, page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: version.number)


def register(client: Any, name: str, uri: str, tags: Mapping[str, str], description: str) -> Version:
    """Return the version of a logged model, made unless one of the same `IDENTITY` is there; it is the challenger.

    Args:
        client: An `MlflowClient`.
        name: Name of the registered model, made if need be.
        uri: `models:/m-...` of the logged model.
        tags: All of `IDENTITY`, and more.
        description: What it is, in words.

    Raises:
        InputError: If the name is not allowed.
    """
    check_name(name)
    _ensure(client, name)
    with exclusive(client, name) as ticket:
        known = versions(client, name, method=tags["method"])
        same = [one for one in known if all(one.tags.get(tag, "") == tags[tag] for tag in IDENTITY)]
        if same:
            version = same[-1]
        else:
            model = client.get_logged_model(uri.removeprefix("models:/"))
            ticket.renew()
            made = client.create_model_version(
                name, uri, model.source_run_id, redact(dict(tags)), description=description, model_id=model.model_id
            )
            version = _version(made)
        ticket.renew()
        client.set_registered_model_alias(name, CHALLENGER, str(version.number))
    return version


def logged_model(client: Any, run_id: str) -> str:
    """Return the URI (`models:/m-...`) of the model that a run logged.

    Raises:
        LookupError: If there is none, as tracking failed when it was made.
    """
    outputs = client.get_run(find_run_id(client, run_id)).outputs if run_id else None
    for model in outputs.model_outputs if outputs else ():
        return f"models:/{model.model_id}"
    raise LookupError(f"the run {run_id or 'of its training'} logged no model")


def keep_scores(client: Any, version: Version, scores: Scores, run_id: str) -> None:
    """Keep a version's predictions on a held-out set with a run, for decisions to come.

    Args:
        client: An `MlflowClient`.
        version: Whose they are.
        scores: The predictions.
        run_id: Run that they are stored with.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{version.name}-{version.number}-{scores.test_digest[:16]}.safetensors"
        scores.write(path)
        client.log_artifact(run_id, str(path), _FOLDER)
    place = f"{run_id}/{_FOLDER}/{path.name}"
    client.set_model_version_tag(version.name, str(version.number), _scores_tag(scores.test_digest), place)


def kept_scores(client: Any, version: Version, test_digest: str) -> Scores | None:
    """Return a version's predictions on a held-out set, None if they were not kept or are gone."""
    from mlflow.exceptions import MlflowException

    run_id, _, path = version.tags.get(_scores_tag(test_digest), "").partition("/")
    if not test_digest or not path:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = client.download_artifacts(run_id, path, folder)
        except (MlflowException, OSError) as error:
            if is_outage(error):
                raise
            return None
        return Scores.read(Path(found))


def _scores_tag(test_digest: str) -> str:
    return f"predictions.{test_digest[:16]}"


def _ensure(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(found: Any) -> Version:
    return Version(found.name, int(found.version), found.source, found.run_id or "", dict(found.tags))
