"""Which retraining of a registered model was started last, kept in the model's own tags: two triggers make one run.

Who wants to train asks under the model's lock and is told to start, or why not. A start is refused for a while after
the last one, whatever machine that was on, and as long as the registry has a version that was trained on the same
content: the gate has judged it, and another run would give it the same to judge. A run that fails withdraws its start,
so that the next trigger may try again at once; one that was killed blocks the next for the cooldown alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from longtail.tracking.registry import registry, versions
from longtail.tracking.tickets import exclusive

_STARTED, _DIGEST, _REASON, _RUN = (f"retraining.{name}" for name in ("started_at", "digest", "reason", "run"))
_LONGEST = 4000
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class Start:
    """What a process may do.

    Attributes:
        allowed: Whether it may start a run.
        sentence: Why not; empty if it may.
    """

    allowed: bool
    sentence: str = ""


def claim(name: str, digest: str, reason: str, *, cooldown: float, force: bool = False, run: str = "") -> Start:
    """Return whether this process is the one to start a retraining, which it then has done as far as others can tell.

    Args:
        name: The registered model, which must exist.
        digest: SHA-256 of the source that would be trained on.
        reason: Why, in a sentence or more.
        cooldown: Seconds after a start in which there is no other.
        force: Start whatever happened before.
        run: Id of the run that asks, if there is one already; asking again, it is told the same.

    Raises:
        InputError: If the tracking server cannot be used or has no such model.
    """
    from mlflow.exceptions import MlflowException

    client = registry()
    now = datetime.now(UTC)
    try:
        with exclusive(client, name) as ticket:
            tags = client.get_registered_model(name).tags
            own = run and tags.get(_RUN) == run
            sentence = "" if force or own else _refusal(client, name, tags, digest, now, cooldown)
            if sentence:
                return Start(False, sentence)
            ticket.renew()
            for key, value in (
                (_DIGEST, digest),
                (_REASON, str(redact(reason))[:_LONGEST]),
                (_RUN, run),
                (_STARTED, now.isoformat(timespec="seconds")),
            ):
                client.set_registered_model_tag(name, key, value)
            return Start(True)
    except MlflowException as error:
        raise _failed(name, error) from None


def note_run(name: str, run: str) -> None:
    """Say in a model's tags which run was started."""
    _change(name, lambda client: client.set_registered_model_tag(name, _RUN, run))


def withdraw(name: str) -> None:
    """Take back this process's start after its run failed; which run it was and why stays in the tags."""
    _change(name, lambda client: client.delete_registered_model_tag(name, _STARTED))


def _refusal(client: Any, name: str, tags: Mapping[str, str], digest: str, now: datetime, cooldown: float) -> str:
    """Return why there is no start now, in a sentence; empty if there is one."""
    for version in versions(client, name, source_digest=digest):
        return f"{version.label} was trained on this content, and the gate has judged it."
    if started := tags.get(_STARTED):
        seconds = (now - datetime.fromisoformat(started)).total_seconds()
        if seconds < cooldown:
            run = f" (run {tags[_RUN]})" if tags.get(_RUN) else ""
            return f"A retraining of {name} was started {_ago(seconds)} ago{run}, the cooldown is {_ago(cooldown)}."
    return ""


def _ago(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(seconds, 0) / 60:.0f} min"


def _change(name: str, change: Any) -> None:
    from mlflow.exceptions import MlflowException

    try:
        change(registry())
    except MlflowException as error:
        raise _failed(name, error) from None


def _failed(name: str, error: Exception) -> InputError:
    reason = " ".join(str(redact(str(error))).split())[:300]
    return InputError(f"the retraining of model {name!r} cannot be noted: {reason}")
