"""Which version is in use, since when, why, and how that changes: whole or not at all.

The alias `champion` alone says which version is in use, and MLflow moves it in one step, so at every moment there is
exactly one. Around the move stand notes in tags of the registered model, `history.000001` and so on: first what is
about to be done, then the move, then the version's own tags, then that it was done. A process that dies in between
leaves a note that is not done; whoever comes next compares it with the alias, which tells whether the move took place,
and completes or removes it. An alias that somebody moved by other means is noted too.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from longtail.tracking.registry import CHAMPION
from longtail.tracking.tickets import Ticket, exclusive

BOOTSTRAP, PROMOTION, ROLLBACK, OUTSIDE = "bootstrap", "promotion", "rollback", "outside"
_TAG = "history."
_LOGGER = logging.getLogger(__name__)


class ChampionChanged(Exception):  # noqa: N818
    """Another version came into use while a decision about the last one was made.

    Args:
        name: Name of the registered model.
        current: Number of the version in use now, None if there is none.
    """

    def __init__(self, name: str, current: int | None) -> None:
        super().__init__(f"the champion of {name} is now {'none' if current is None else f'version {current}'}")
        self.current = current


@dataclass(frozen=True)
class Note:
    """One change of the version in use.

    Attributes:
        version: Number of the version in use since then, None if there is none.
        before: Number of the one before, None if there was none.
        at: When, in ISO 8601, UTC.
        why: `bootstrap`, `promotion`, `rollback`, or `outside` for an alias that was moved by other means.
        report: Where the gate's report is; may be empty.
        done: False while the change is under way.
    """

    version: int | None
    before: int | None
    at: str
    why: str
    report: str = ""
    done: bool = False


@dataclass(frozen=True)
class Reign:
    """How long a version was in use.

    Attributes:
        note: How it came into use.
        until: When another one did, in ISO 8601, UTC; empty for the version that is in use.
    """

    note: Note
    until: str


def promote(client: Any, name: str, version: int, *, expected: int | None, report: str = "") -> bool:
    """Bring a version into use if the one that it was compared with still is.

    Repeated after a failure, it completes what was begun.

    Args:
        client: An `MlflowClient`.
        name: Name of the registered model.
        version: Number of the new version.
        expected: Number of the version that it was compared with, None if there was none.
        report: Where the gate's report is.

    Returns:
        False if the version was in use already.

    Raises:
        ChampionChanged: If another version is in use than the expected one.
    """
    with exclusive(client, name) as ticket:
        notes, current = _reconciled(client, name, ticket)
        if current == version:
            return False
        if current != expected:
            raise ChampionChanged(name, current)
        why = BOOTSTRAP if current is None else PROMOTION
        _move(client, name, ticket, len(notes), Note(version, current, _now(), why, report))
        return True


def rollback(client: Any, name: str) -> Note:
    """Bring the version back into use that the one in use was promoted from.

    Repeated after a failure, it completes what was begun and goes no further back.

    Args:
        client: An `MlflowClient`.
        name: Name of the registered model.

    Returns:
        The change.

    Raises:
        InputError: If there is none, or it was deleted.
    """
    with exclusive(client, name) as ticket:
        begun, at = _read(client, name)
        notes, current = _reconciled(client, name, ticket)
        if begun and begun[-1].why == ROLLBACK and not begun[-1].done and begun[-1].version == at:
            return notes[-1]
        target = _promoted_from(notes, current)
        if target is None:
            state = "no champion" if current is None else f"no champion before version {current}"
            raise InputError(f"{name} has {state}: there is nothing to go back to")
        _check_is_there(client, name, target)
        note = Note(target, current, _now(), ROLLBACK)
        _move(client, name, ticket, len(notes), note)
        return replace(note, done=True)


def history(client: Any, name: str) -> list[Reign]:
    """Return which versions were in use, the first one first.

    Raises:
        InputError: If there is no such model.
    """
    notes, current = _read(client, name)
    settled = _settled(notes, current)
    ends = [*(note.at for note in settled), ""][1:]
    return [Reign(note, until) for note, until in zip(settled, ends, strict=True)]


def _move(client: Any, name: str, ticket: Ticket, place: int, note: Note) -> None:
    """Note, move the alias, note that it was done; this last note is made up for later if it fails."""
    _write(client, name, ticket, place, note)
    ticket.renew()
    client.set_registered_model_alias(name, CHAMPION, str(note.version))
    try:
        _complete(client, name, ticket, place, note)
    except Exception as error:
        _LOGGER.warning(
            "version %s of %s is the champion, but not noted so yet: %s", note.version, name, redact(str(error))
        )


def _complete(client: Any, name: str, ticket: Ticket, place: int, note: Note) -> None:
    """Give the version its tags and write that the change was done."""
    if note.why in (BOOTSTRAP, PROMOTION):
        before = "" if note.before is None else str(note.before)
        tags = {"promoted_at": note.at, "promoted_from": before, "gate_report": note.report}
        for tag, value in tags.items():
            ticket.renew()
            client.set_model_version_tag(name, str(note.version), tag, value)
    _write(client, name, ticket, place, replace(note, done=True))


def _write(client: Any, name: str, ticket: Ticket, place: int, note: Note) -> None:
    ticket.renew()
    client.set_registered_model_tag(name, _tag(place), json.dumps(asdict(note)))


def _reconciled(client: Any, name: str, ticket: Ticket) -> tuple[list[Note], int | None]:
    """Return the notes and the version in use, after completing what another process left half done."""
    notes, current = _read(client, name)
    settled = _settled(notes, current)
    for place in range(len(settled), len(notes)):
        ticket.renew()
        client.delete_registered_model_tag(name, _tag(place))
    for place, note in enumerate(settled):
        if place >= len(notes) or note != notes[place]:
            _complete(client, name, ticket, place, note)
    return settled, current


def _settled(notes: Sequence[Note], current: int | None) -> list[Note]:
    """Return the notes as they would be if nothing were under way and the alias were never moved by other means."""
    settled = list(notes)
    if settled and not settled[-1].done:
        last = settled.pop()
        if last.version == current:
            settled.append(replace(last, done=True))
    before = settled[-1].version if settled else None
    if current != before:
        settled.append(Note(current, before, _now(), OUTSIDE, done=True))
    return settled


def _promoted_from(notes: Sequence[Note], current: int | None) -> int | None:
    """Return the version before the one in use when that was last promoted."""
    for note in reversed(notes):
        if note.version == current and note.why != ROLLBACK:
            return note.before
    return None


def _read(client: Any, name: str) -> tuple[list[Note], int | None]:
    """Return the notes as they are, and the version that the alias points to."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(f"there is no registered model {name!r}: run a pipeline with promotion.model={name}") from None
    texts = [model.tags[tag] for tag in sorted(model.tags) if tag.startswith(_TAG)]
    alias = model.aliases.get(CHAMPION)
    return [Note(**json.loads(text)) for text in texts], None if alias is None else int(alias)


def _check_is_there(client: Any, name: str, number: int) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(f"version {number} of {name} was deleted: promote one that is there") from None


def _tag(place: int) -> str:
    return f"{_TAG}{place + 1:06d}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
