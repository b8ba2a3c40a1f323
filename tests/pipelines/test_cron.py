import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longtail.errors import InputError
from pipelines.cron import clock_change, in_utc, next_times, time_zone

WINTER, SUMMER = datetime(2026, 12, 1, 12, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC)


def shown(cron, zone, moment=WINTER):
    return [f"{time.astimezone(time_zone(zone)):%a %d %H:%M}" for time in itertools.islice(next_times(cron, moment), 3)]


@pytest.mark.parametrize(
    ("expression", "zone", "moment", "cron"),
    [
        ("0 3 * * 1", "UTC", WINTER, "0 0 3 * * 1"),
        ("0 3 * * 7", "UTC", WINTER, "0 0 3 * * 0"),
        ("0 3 * * MON-FRI", "UTC", WINTER, "0 0 3 * * 1,2,3,4,5"),
        ("*/20 * * jan *", "UTC", WINTER, "0 0,20,40 * * 1 *"),
        ("5/20 3 1-31 * *", "UTC", WINTER, "0 5,25,45 3 * * *"),
        ("0 3 * * 1", "Europe/Berlin", WINTER, "0 0 2 * * 1"),
        ("0 3 * * 1", "Europe/Berlin", SUMMER, "0 0 1 * * 1"),
        ("30 0 * * 1", "Europe/Berlin", WINTER, "0 30 23 * * 0"),
        ("30 0 15 * *", "Europe/Berlin", WINTER, "0 30 23 14 * *"),
        ("0 20 27 2 *", "America/New_York", WINTER, "0 0 1 28 2 *"),
        ("0 5 * * mon-fri", "Pacific/Auckland", WINTER, "0 0 16 * * 0,1,2,3,4"),
        ("0 3 * * *", "Asia/Kolkata", WINTER, "0 30 21 * * *"),
        ("*/20 * * * *", "Asia/Kolkata", WINTER, "0 10,30,50 * * * *"),
        ("0 */6 * * *", "America/New_York", WINTER, "0 0 5,11,17,23 * * *"),
    ],
)
def test_six_fields_in_utc(expression, zone, moment, cron):
    assert in_utc(expression, time_zone(zone), moment) == cron


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("0 0,12 * * 1", "Europe/Berlin"),  # Sunday and Monday
        ("30 0 1 * *", "Europe/Berlin"),  # the last day of a month
        ("0 20 28 * *", "America/New_York"),  # the 29th, or the first of March
        ("30 0 * 2 1", "Europe/Berlin"),  # a Sunday that may be in January
        ("0,30 3,9 * * *", "Asia/Kolkata"),  # four times that are no hours times minutes
    ],
)
def test_what_no_expression_in_utc_says(expression, zone):
    with pytest.raises(InputError, match="is no single expression in UTC, in which Kubeflow counts"):
        in_utc(expression, time_zone(zone), WINTER)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 0 3 * * 1", "has 6 fields: give five, minute, hour, day of month, month, day of week"),
        ("@daily", "has 1 fields: give five"),
        ("61 * * * *", "is wrong: .*out of range"),
        ("0 3 L * *", "has 'L' as day of month: use numbers, names"),
        ("0 3 * * 1#2", "has '1#2' as day of week"),
        ("0 3 ? * *", "has '\\?' as day of month"),
        ("H 3 * * *", "has 'H' as minute"),
        ("*/0 * * * *", "is wrong: .*step '0'"),
        ("0 3 * * moon", "is wrong"),
    ],
)
def test_what_is_no_expression(expression, message):
    with pytest.raises(InputError, match=message) as error:
        in_utc(expression, time_zone("UTC"), WINTER)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "europe"])
def test_what_is_no_time_zone(name):
    with pytest.raises(InputError, match="is not known: give one such as Europe/Berlin or UTC"):
        time_zone(name)


def test_the_next_times_by_the_zones_clock():
    cron = in_utc("30 0 * * 1", time_zone("Europe/Berlin"), WINTER)
    assert shown(cron, "Europe/Berlin") == ["Mon 07 00:30", "Mon 14 00:30", "Mon 21 00:30"]


def test_a_day_that_never_comes():
    assert list(next_times("0 0 3 30 2 *", WINTER)) == []


def test_a_day_that_seldom_comes():
    assert next(next_times("0 0 3 29 2 *", WINTER)) == datetime(2028, 2, 29, 3, tzinfo=UTC)


@settings(deadline=None, max_examples=60)
@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    days=st.just(set()) | st.sets(st.integers(1, 31), min_size=1, max_size=3),
    weekdays=st.just(set()) | st.sets(st.integers(0, 6), min_size=1, max_size=3),
    zone=st.sampled_from(["Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"]),
)
def test_every_time_is_one_that_the_zones_own_clock_gives(minutes, hours, days, weekdays, zone):
    fields = [",".join(map(str, sorted(field))) or "*" for field in (minutes, hours, days, set(), weekdays)]
    try:
        cron = in_utc(" ".join(fields), time_zone(zone), WINTER)
    except InputError:
        assume(False)

    def is_due(moment):
        by_day, by_weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        day = (by_day or by_weekday) if days and weekdays else (by_day or not days) and (by_weekday or not weekdays)
        return day

    start = WINTER.astimezone(time_zone(zone))
    every = [
        start.replace(hour=hour, minute=minute) + timedelta(days=day)
        for day, hour, minute in itertools.product(range(40), sorted(hours), sorted(minutes))
    ]
    expected = [moment for moment in every if moment > start and is_due(moment)]
    assert list(itertools.islice(next_times(cron, WINTER), min(len(expected), 5))) == expected[:5]


@pytest.mark.parametrize(
    ("expression", "zone", "change"),
    [
        ("0 3 * * 1", "Europe/Berlin", (datetime(2027, 3, 28, 1, tzinfo=UTC), 1.0)),
        ("0 3 * * 1", "Australia/Lord_Howe", (datetime(2027, 4, 3, 15, tzinfo=UTC), -0.5)),
        ("0 3 * * 1", "Asia/Kolkata", None),
        ("0 3 * * 1", "UTC", None),
        ("15 * * * *", "Europe/Berlin", None),  # every hour, whatever the hour is called
    ],
)
def test_when_the_clock_is_changed(expression, zone, change):
    found = clock_change(expression, time_zone(zone), WINTER)
    assert (found and (found.moment, found.hours)) == change
