import io
import json

import pytest

from pipelines import display
from pipelines.display import Display


class Terminal(io.StringIO):
    def isatty(self):
        return True


EVENTS = [
    {"step": "backbone_training", "kind": "started"},
    {"step": "backbone_training", "kind": "progress", "message": "epoch 1 of 2"},
    {"step": "backbone_training", "kind": "progress", "message": "epoch 2 of 2"},
    {"step": "backbone_training", "kind": "warning", "message": "a checkpoint is lost"},
    {"step": "backbone_training", "kind": "finished", "seconds": 12.34},
]


def _lines(tmp_path, stream, events):
    shown = Display(tmp_path / "events.jsonl", stream)
    for event in events:
        shown.show(event)
    return stream.getvalue()


def test_plain_lines_without_control_characters(tmp_path):
    assert _lines(tmp_path, io.StringIO(), EVENTS).splitlines() == [
        f"{'backbone_training':34} epoch 1 of 2",
        f"{'backbone_training':34} warning: a checkpoint is lost",
        f"{'backbone_training':34}     12.3 s",
    ]


def test_plain_progress_comes_every_ten_seconds_for_each_step(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    stream = io.StringIO()
    shown = Display(tmp_path / "events.jsonl", stream)
    for seconds in (0.0, 9.9, 10.1, 10.2):
        now = 100.0 + seconds
        shown.show({"step": "a", "kind": "progress", "message": f"at {seconds}"})
    shown.show({"step": "b", "kind": "progress", "message": "another"})
    assert [line.split(maxsplit=1)[1] for line in stream.getvalue().splitlines()] == ["at 0.0", "at 10.1", "another"]


def test_a_terminal_keeps_progress_on_one_line(tmp_path):
    text = _lines(tmp_path, Terminal(), EVENTS)
    assert text.count("\n") == 2
    assert "\r\033[Kbackbone_training: epoch 2 of 2" in text
    assert text.endswith(f"\r\033[K{'backbone_training':34}     12.3 s\n")


def test_a_long_message_does_not_wrap_a_terminal_for_ever(tmp_path):
    event = {"step": "a", "kind": "progress", "message": "x" * 5000}
    assert len(_lines(tmp_path, Terminal(), [event])) <= 170


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_failure_is_left_to_the_one_line_at_the_end(tmp_path, stream):
    event = {"step": "evaluation", "kind": "failed", "message": "no classifiers", "code": 2}
    assert _lines(tmp_path, stream(), [event]) == ""


def test_a_terminals_line_is_cleared_for_what_comes_after(tmp_path):
    path, stream = tmp_path / "events.jsonl", Terminal()
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS[:2]))
    with Display(path, stream):
        pass
    assert stream.getvalue().endswith("epoch 1 of 2\r\033[K")


def test_it_follows_the_file_to_its_end(tmp_path):
    path, stream = tmp_path / "events.jsonl", io.StringIO()
    path.touch()
    with Display(path, stream), path.open("a", encoding="utf-8") as file:
        for event in EVENTS:
            file.write(json.dumps(event) + "\n")
    assert stream.getvalue().splitlines()[-1].endswith("12.3 s")
