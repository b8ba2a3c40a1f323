import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from longtail.errors import InputError
from longtail.steps import events

PROGRAM = """
import pathlib, signal, sys, time
from longtail.steps import events
events._GRACE_SECONDS = 0.2
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, lambda *_: pathlib.Path(sys.argv[2]).touch())
with events.step("x"):
    while True:
        time.sleep(0.1)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("LONGTAIL_EVENTS", str(path))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_tells_its_start_its_lines_and_its_end(file, capsys, logger):
    with events.step("features"):
        logger.getChild("data").info("%s of %d\nimages", "half", 10)
        logger.warning("slow")
        logger.debug("not worth a line")
    told = read(file)
    assert [event["kind"] for event in told] == ["started", "progress", "warning", "finished"]
    assert {event["step"] for event in told} == {"features"}
    assert [event["message"] for event in told[1:3]] == ["half of 10\nimages", "slow"]
    assert told[-1]["seconds"] >= 0
    assert capsys.readouterr().err.splitlines()[-1].endswith("features: slow")


def test_a_second_step_in_the_process_does_not_repeat_lines(file, capsys, logger):
    for label in ("one", "two"):
        with events.step(label):
            logger.info("here")
    assert [event["step"] for event in read(file) if event["kind"] == "progress"] == ["one", "two"]
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_bad_input_is_exit_code_2_and_one_line(file, capsys):
    with pytest.raises(SystemExit) as ended, events.step("data"):
        raise InputError("data.source is 'x': choose from digits")
    assert ended.value.code == 2
    assert ended.value.__cause__ is None and ended.value.__suppress_context__
    assert capsys.readouterr().err == "error: data.source is 'x': choose from digits\n"
    message = "data.source is 'x': choose from digits"
    assert read(file)[-1] == {"step": "data", "kind": "failed", "message": message, "code": 2}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("the loss is nan"), 1, "RuntimeError: the loss is nan"),
        (SystemExit(143), 143, "SystemExit: 143"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt: "),
    ],
)
def test_other_errors_go_on_and_are_told(file, error, code, message):
    with pytest.raises(type(error)) as raised, events.step("data"):
        raise error
    assert raised.value is error
    assert [event["kind"] for event in read(file)] == ["started", "failed"]
    assert (read(file)[-1]["code"], read(file)[-1]["message"]) == (code, message)


def test_without_a_watcher_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with events.step("data"):
        events.emit("data", "progress", message="unseen")
    assert not list(tmp_path.iterdir())


def test_lines_of_several_processes_stay_whole(file):
    def tell(process):
        for number in range(200):
            events.emit(f"step-{process}", "progress", number=number, message="é" * (number * 40 % 6000))

    processes = [multiprocessing.get_context("fork").Process(target=tell, args=(i,)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    told = read(file)
    for i, process in enumerate(processes):
        assert process.exitcode == 0
        assert [event["number"] for event in told if event["step"] == f"step-{i}"] == list(range(200))
    assert len(told) == 800


def test_a_process_ends_with_its_supervisor_even_if_it_ignores_the_request(tmp_path):
    supervisor = subprocess.Popen(["sleep", "600"])
    told, asked = tmp_path / "events.jsonl", tmp_path / "asked"
    environment = os.environ | {"LONGTAIL_SUPERVISOR": str(supervisor.pid), "LONGTAIL_EVENTS": str(told)}
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, kind, str(asked)], env=environment)
        for kind in ("stubborn", "obedient")
    ]
    try:
        while not told.exists() or len(read(told)) < 2:
            assert all(process.poll() is None for process in started)
            time.sleep(0.05)
        assert not asked.exists()
        supervisor.kill()
        supervisor.wait()
        stubborn, obedient = (process.wait(60) for process in started)
    finally:
        for process in [supervisor, *started]:
            process.kill()
            process.wait()
    assert obedient == -signal.SIGTERM
    assert stubborn == 1
    assert asked.exists()
