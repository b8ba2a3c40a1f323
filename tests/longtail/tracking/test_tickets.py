import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from longtail.tracking import tickets
from longtail.tracking.server import connect
from longtail.tracking.tickets import LockLost, exclusive

HOLD = """
import sys, time
from longtail.tracking.server import connect
from longtail.tracking.tickets import exclusive
client, log = connect(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
for _ in range(int(sys.argv[3])):
    with exclusive(client, "fish") as ticket:
        ticket.renew()
        log.write(f"+{sys.argv[4]}\\n")
        time.sleep(float(sys.argv[5]))
        log.write(f"-{sys.argv[4]}\\n")
"""


@pytest.fixture
def uri(tracking, tmp_path):
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tickets, "_POLL_SECONDS", 0.02)


def holder(uri, log, times, name, seconds):
    return subprocess.Popen([sys.executable, "-c", HOLD, uri, str(log), str(times), name, str(seconds)])


def elsewhere(monkeypatch):
    """Make tickets look as if they came from another machine."""
    monkeypatch.setattr(tickets, "_place", lambda: "another machine")
    monkeypatch.setattr(tickets, "_is_gone", lambda tags: False)


def test_processes_hold_the_lock_one_after_another(uri, tmp_path):
    log = tmp_path / "log"
    workers = [holder(uri, log, 3, name, 0.05) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    lines = log.read_text().splitlines()
    assert len(lines) == 12
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered[0] == "+" and left == f"-{entered[1:]}"
    assert tickets._tickets(connect(uri), "fish.lock") == []


def test_a_killed_holder_on_this_machine_is_noticed_at_once(uri, tmp_path):
    log = tmp_path / "log"
    worker = holder(uri, log, 1, "a", 600)
    while not log.exists() or not log.read_text():
        assert worker.poll() is None
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    started = time.monotonic()
    with exclusive(connect(uri), "fish") as ticket:
        ticket.renew()
    assert time.monotonic() - started < tickets.LEASE / 4


def test_a_holder_elsewhere_is_waited_for_until_its_lease_has_passed_and_then_knows(tracking, monkeypatch):
    elsewhere(monkeypatch)
    with exclusive(tracking, "fish", lease=60) as dead:
        monkeypatch.setattr(tickets, "_PROCESS", "another")
        started = time.monotonic()
        with exclusive(tracking, "fish", lease=0.5) as ticket:
            assert 0.5 <= time.monotonic() - started < 20
            ticket.renew()
            with pytest.raises(LockLost, match="given to another process"):
                dead.renew()


def test_a_holder_that_gives_signs_of_life_keeps_the_lock(tracking, monkeypatch):
    elsewhere(monkeypatch)
    entered = threading.Event()

    def wait():
        with exclusive(tracking, "fish", lease=1.0):
            entered.set()

    with exclusive(tracking, "fish", lease=60) as ticket:
        waiter = threading.Thread(target=wait)
        waiter.start()
        for _ in range(12):
            time.sleep(0.2)
            ticket.renew()
        assert not entered.is_set()
    waiter.join(timeout=20)
    assert entered.is_set()


def test_a_holder_that_slept_too_long_changes_nothing_even_if_nobody_waits(tracking, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tickets, "_clock", lambda: now[0])
    with exclusive(tracking, "fish", lease=10) as ticket:
        now[0] = 4.9
        ticket.renew()
        now[0] = 10.0
        with pytest.raises(LockLost, match="without a sign of life"):
            ticket.renew()


def test_a_thread_that_lost_its_ticket_in_a_failure_does_not_wait_for_itself(tracking, monkeypatch):
    with exclusive(tracking, "fish"):
        started = time.monotonic()
        with exclusive(tracking, "fish"):  # the same thread: the outer one failed, as far as it knows
            assert time.monotonic() - started < 20


def test_a_process_number_of_another_machine_or_container_says_nothing():
    own = {"place": tickets._place(), "process": str(os.getpid())}
    child = multiprocessing.get_context("spawn").Process(target=json.dumps, args=(1,))
    child.start()
    child.join()
    gone = {"place": tickets._place(), "process": str(child.pid)}
    assert tickets._is_gone(gone) and not tickets._is_gone(own)
    assert not tickets._is_gone(gone | {"place": "another"}) and not tickets._is_gone({})


def test_a_server_keeps_the_line_too(mlflow_server):
    client = connect(mlflow_server.uri)
    with exclusive(client, "fish") as ticket:
        ticket.renew()
        assert [version.version for version in tickets._tickets(client, "fish.lock")] == [ticket.number]
    assert tickets._tickets(client, "fish.lock") == []
