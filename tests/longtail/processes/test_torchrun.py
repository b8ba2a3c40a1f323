"""Two processes of `torchrun` through the step itself."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from longtail.errors import InputError
from longtail.processes.request import Request
from longtail.processes.torchrun import run_here

BOUND = 1e-5  # of a change of a weight in units of the learning rate, and of a loss


def test_two_processes_train_what_one_does_and_a_later_one_goes_on(train, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("LONGTAIL_EVENTS", str(tmp_path / "events"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("LONGTAIL_TRACKING")
    alone, first, _ = train(tmp_path / "one")
    (tmp_path / "events").unlink()
    together, second, described = train(tmp_path / "two", processes=2)
    for (name, one), two in zip(alone.state_dict().items(), together.state_dict().values(), strict=True):
        assert ((one - two) / 0.1).abs().max() < BOUND, name
    for ours, theirs in zip(first["history"], second["history"], strict=True):
        assert theirs["train/loss"] == pytest.approx(ours["train/loss"], abs=BOUND)
        assert theirs["validation/accuracy"] == ours["validation/accuracy"]
    assert described["epochs"] == 2
    assert "<img" in (tmp_path / "two" / "report").read_text()
    told = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [event["kind"] for event in told if event["kind"] != "warning"] == [
        *("started", "progress", "progress", "finished")
    ]
    assert described["mlflow_run_id"]
    assert _epochs(tmp_path, described["mlflow_run_id"]) == [1, 2]
    capfd.readouterr()
    # The number of processes is no part of what a checkpoint is of: one process has nothing left to do.
    _, third, _ = train(tmp_path / "three", home=tmp_path / "two" / "home")
    assert "resumed at epoch 3" in capfd.readouterr().err
    assert third["history"] == second["history"]


def _epochs(folder, run_id):
    from longtail.tracking.server import connect

    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    assert client.get_run(run_id).info.status == "FINISHED"
    return [entry.step for entry in client.get_metric_history(run_id, "train/loss")]


def test_bad_input_of_a_process_is_one_line_of_the_step(tmp_path):
    request = Request({"epochs": 1}, {"dataset": str(tmp_path / "lost")}, {"backbone": str(tmp_path / "out")}, 1, 1)
    with pytest.raises(InputError, match="lost"):
        run_here(request, 2)
    assert not (tmp_path / "out").exists()


def test_a_group_needs_equal_shares(train, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "out", processes=4)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: backbone.processes is 4: give a divisor of the 190 images of a step"
    )


def test_sigterm_leaves_a_checkpoint_and_no_process(dataset, tmp_path):
    """The step is told to end, as by Kubernetes; its processes write where they are."""
    request = Request(
        {"network": "lenet", "head": "linear", "epochs": 100000, "batch_size": 100, "processes": 2},
        {"dataset": str(dataset.path)},
        {"backbone": str(tmp_path / "out"), "report": str(tmp_path / "report")},
        1,
        1,
    )
    program = (
        "import json, sys; from longtail.processes.request import Request;"
        "from longtail.processes.torchrun import run_here; run_here(Request(**json.loads(sys.argv[1])), 2)"
    )
    events = tmp_path / "events"
    variables = os.environ | {"LONGTAIL_EVENTS": str(events)}
    process = subprocess.Popen([sys.executable, "-c", program, request.arguments[-1]], env=variables)
    while process.poll() is None and not (events.exists() and events.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 143
    assert list((tmp_path / "home" / "checkpoints").glob("*.safetensors"))
    assert not (tmp_path / "out").exists()
