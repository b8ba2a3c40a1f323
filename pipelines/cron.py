"""From a five-field cron expression in a time zone to Kubeflow's: six fields, seconds first, always in UTC.

Kubeflow knows no zones, so an expression holds for one distance of the zone from UTC; a zone that puts its clock
forward and back needs another one from then on.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from longtail.errors import InputError

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_PLAIN = re.compile(r"[0-9a-z*,/-]+", re.IGNORECASE)
_DAY_MINUTES = 24 * 60
_SAFE_DAYS = range(2, 28)
"""Days whose neighbours are in the same month, whatever the month."""

Field = list[int | str]


@dataclass(frozen=True)
class ClockChange:
    """When a zone's clock is put forward or back so that an expression no longer holds.

    Attributes:
        moment: When.
        hours: How much later the runs then come by that clock; negative is earlier.
    """

    moment: datetime
    hours: float


def time_zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        InputError: If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"time zone {name!r} is not known: give one such as Europe/Berlin or UTC") from None


def in_utc(expression: str, zone: ZoneInfo, moment: datetime) -> str:
    """Return Kubeflow's six fields for an expression.

    Args:
        expression: Minute, hour, day of month, month, day of week, as in crontab; days are 0–7 or names.
        zone: The zone of its hours.
        moment: When the zone's distance from UTC is read.

    Raises:
        InputError: If it is no such expression, or no single expression in UTC says the same.
    """
    minutes, hours, days, months, weekdays = _expanded(expression)
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    shift = int(offset.total_seconds() // 60)
    times = {
        divmod(60 * hour + minute - shift, _DAY_MINUTES)
        for hour in _values(hours, 24)
        for minute in _values(minutes, 60)
    }
    moved = {day for day, _ in times}
    pairs = {divmod(time, 60) for _, time in times}
    utc_hours, utc_minutes = sorted({hour for hour, _ in pairs}), sorted({minute for _, minute in pairs})
    whole = len(pairs) == len(utc_hours) * len(utc_minutes)
    anywhere = days == months == weekdays == ["*"]
    if not whole or not (anywhere or (len(moved) == 1 and _can_move(days, months, weekdays, min(moved)))):
        raise InputError(
            f"cron {expression!r} in {zone.key} is no single expression in UTC, in which Kubeflow counts: some of its "
            "times are on another day there; split it, choose other hours, or write it for --timezone UTC"
        )
    day = 0 if anywhere else min(moved)
    days = [number + day for number in days if isinstance(number, int)] or days
    weekdays = sorted((number + day) % 7 for number in weekdays if isinstance(number, int)) or weekdays
    fields = (_text(utc_minutes, 60), _text(utc_hours, 24), *(_text(field, 0) for field in (days, months, weekdays)))
    return " ".join(("0", *fields))


def next_times(six_fields: str, moment: datetime) -> Iterator[datetime]:
    """Yield when Kubeflow will start runs after a moment, in UTC, without end.

    Args:
        six_fields: What `in_utc` returned.
        moment: The moment.

    Yields:
        The times; none if there is none within five years, where Kubeflow gives up too.
    """
    from croniter import CroniterBadDateError, croniter

    schedule = croniter(six_fields.partition(" ")[2], moment.astimezone(UTC), max_years_between_matches=5)
    while True:
        try:
            yield schedule.get_next(datetime)
        except CroniterBadDateError:
            return


def clock_change(expression: str, zone: ZoneInfo, moment: datetime) -> ClockChange | None:
    """Return the first change of a zone's clock within a year after which the runs come at another hour; else None."""
    before = moment.astimezone(zone).utcoffset()
    assert before is not None
    for hour in itertools.islice(itertools.count(1), 366 * 24):
        later = moment + timedelta(hours=hour)
        after = later.astimezone(zone).utcoffset()
        assert after is not None
        if after != before:
            if _holds_after(expression, zone, moment, later):
                return None
            change = later.replace(minute=0, second=0, microsecond=0)
            return ClockChange(change, (after - before) / timedelta(hours=1))
    return None


def _holds_after(expression: str, zone: ZoneInfo, moment: datetime, later: datetime) -> bool:
    try:
        return in_utc(expression, zone, moment) == in_utc(expression, zone, later)
    except InputError:
        return False


def _expanded(expression: str) -> list[Field]:
    """Return the values of each field; `["*"]` for all of them."""
    from croniter import CroniterError, croniter

    texts = expression.split()
    if len(texts) != len(_FIELDS):
        raise InputError(f"cron {expression!r} has {len(texts)} fields: give five, {', '.join(_FIELDS)}")
    for text, name in zip(texts, _FIELDS, strict=True):
        # Crontabs disagree about everything else, such as L, W, # and ?.
        if not _PLAIN.fullmatch(text) or re.search(r"(?<![a-z])[lhrw](?![a-z])", text, re.IGNORECASE):
            raise InputError(f"cron {expression!r} has {text!r} as {name}: use numbers, names, '*', ',', '-' and '/'")
    try:
        return [list(field) for field in croniter.expand(expression)[0]]
    except CroniterError as error:
        raise InputError(f"cron {expression!r} is wrong: {' '.join(str(error).split())}") from None


def _values(field: Field, count: int) -> list[int]:
    return list(range(count)) if field == ["*"] else [int(value) for value in field]


def _can_move(days: Field, months: Field, weekdays: Field, day: int) -> bool:
    """Return whether days that are moved by one are still an expression of the same form."""
    if day == 0:
        return True
    if days == ["*"]:
        return months == ["*"]
    safe = all(number in _SAFE_DAYS for number in days)
    return safe and (weekdays == ["*"] or months == ["*"])


def _text(field: Field, count: int) -> str:
    return "*" if field == ["*"] or len(field) == count else ",".join(map(str, field))
