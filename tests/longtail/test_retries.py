import pytest

from longtail import retries
from longtail.errors import InputError
from longtail.retries import at_work, patience, persist, work_patience


class Clock:
    def __init__(self):
        self.now, self.waits = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    return clock


class Away:
    """Fails a number of times."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        if self.times >= 0:
            raise OSError(self.times)
        return "answer"


def is_os_error(error):
    return isinstance(error, OSError)


def test_an_answer_is_waited_for_in_growing_random_steps(clock):
    told = []
    assert persist(Away(9), is_os_error, 120, told.append) == "answer"
    assert len(told) == 1
    assert len(clock.waits) == len(set(clock.waits)) == 9
    for number, wait in enumerate(clock.waits):
        longest = min(0.5 * 2**number, 15)
        assert longest / 2 <= wait <= longest


def test_patience_ends(clock):
    with pytest.raises(OSError):
        persist(Away(1000), is_os_error, 60)
    assert clock.now == pytest.approx(60)


def test_what_is_no_outage_and_no_patience_are_not_waited_for(clock):
    with pytest.raises(OSError):
        persist(Away(1), lambda error: False, 60)
    with pytest.raises(OSError):
        persist(Away(1), is_os_error, 0)
    assert clock.waits == []


def test_patience_is_a_setting(monkeypatch):
    monkeypatch.delenv("LONGTAIL_PATIENCE", raising=False)
    assert patience() == 120
    monkeypatch.setenv("LONGTAIL_PATIENCE", "2.5")
    assert patience() == 2.5
    for wrong in ("long", "-1", "inf", "nan"):
        monkeypatch.setenv("LONGTAIL_PATIENCE", wrong)
        with pytest.raises(InputError, match=f"LONGTAIL_PATIENCE is '{wrong}': give the seconds"):
            patience()


def test_only_work_is_patient(monkeypatch):
    monkeypatch.setenv("LONGTAIL_PATIENCE", "3")
    with at_work():
        with at_work():
            pass
        assert work_patience() == 3
    assert work_patience() == 0
