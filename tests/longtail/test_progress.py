import io
import logging
import sys

import pytest

from longtail import progress as module
from longtail.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_plain_line_every_few_seconds(monkeypatch, clock, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    show = progress("decode", "images")
    for done in range(0, 2_001, 100):
        show(done, 2_000)
        clock[0] += 1
    assert [record.getMessage() for record in caplog.records] == [
        "decode: 500 of 2,000 images, 100.0/s",
        "decode: 1,000 of 2,000 images, 100.0/s",
        "decode: 1,500 of 2,000 images, 100.0/s",
    ]


def test_short_work_leaves_no_line(monkeypatch, clock, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    show = progress("decode", "images")
    show(1, 2)
    clock[0] += 60
    show(2, 2)
    assert caplog.records == []


def test_a_terminal_gets_a_bar(monkeypatch, caplog):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    caplog.set_level(logging.INFO)
    show = progress("decode", "images")
    show(1, 4)
    show(4, 4)
    assert "decode: 100%" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()
    assert caplog.records == []
