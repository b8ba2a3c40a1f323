"""Whether there is a reason to train again, and that two triggers make one run, on a real MLflow database."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pipelines import local
from pipelines.cli import main
from pipelines.local import StepError
from tests.registered import forget_starts, new_class, registered

PRESET = "start: images\ndata: {profile: natural}\nbackbone: {network: small_cnn, epochs: 1}\n"
TRIGGER = """
import sys, time
from types import SimpleNamespace
from pathlib import Path
from pipelines import local
from pipelines.cli import main

def run(config):
    with Path(sys.argv[1]).open("a") as file:
        file.write(config.backbone.weights + "\\n")
    time.sleep(1)
    return SimpleNamespace(run_id="r-1", table="", page="report.html")

local.run_locally = run
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    """The champion `digits/1` with its client and source, and a folder."""
    folder = tmp_path_factory.mktemp("retraining")
    (folder / "preset.yaml").write_text(PRESET)
    with registered(folder) as found:
        found.folder = folder
        yield found


@pytest.fixture
def command(champion):
    """Return a function that gives a command on the champion's source."""
    forget_starts(champion.client)
    preset, source = champion.folder / "preset.yaml", champion.source
    return lambda name, *more, model="digits": [
        *(name, "--model", model, "--preset", str(preset), "--data", str(source), *more)
    ]


@pytest.fixture
def another(champion):
    """One class more in the source, for a test."""
    with new_class(champion.source):
        yield


@pytest.fixture
def runs(monkeypatch):
    """Settings of the runs that were started; none is carried out."""
    found = []

    def run(config):
        found.append(config)
        return SimpleNamespace(run_id="r-7", table="the table", page="report.html")

    monkeypatch.setattr(local, "run_locally", run)
    return found


def test_without_a_change_there_is_no_reason_and_no_run(command, runs, capsys):
    assert main(command("check")) == 0
    assert main(command("retrain")) == 0
    assert "byte for byte" in capsys.readouterr().out
    assert runs == []


def test_a_reason_is_exit_code_3_with_a_page_and_json(command, another, capsys):
    assert main(command("check")) == 3
    out = capsys.readouterr().out
    assert "1 class appeared: new." in out
    assert "new" in Path(out.split("page")[1].strip()).read_text()
    assert main(command("check", "--json")) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["needed"]
    assert found["reasons"][0]["kind"] == "classes"


def test_a_run_goes_on_from_the_champion_and_meets_the_gate(command, another, runs, champion, capsys):
    assert main(command("retrain")) == 0
    (config,) = runs
    assert (config.backbone.weights, config.promotion.model) == ("models:/digits/1", "digits")
    tags = champion.client.get_registered_model("digits").tags
    assert tags["retraining.run"] == "r-7"
    assert "1 class appeared" in tags["retraining.reason"]
    assert main(command("retrain")) == 0
    assert len(runs) == 1
    assert "cooldown is 24.0 h. Nothing is started." in capsys.readouterr().out
    assert main(command("retrain", "--cooldown", "0s", "--from-scratch")) == 0
    assert runs[1].backbone.weights == ""


def test_another_architecture_starts_anew(command, another, runs, capsys):
    assert main(command("retrain", "--set", "backbone.network=lenet")) == 0
    assert runs[0].backbone.weights == ""
    assert "Training starts anew, as digits/1 does not fit" in capsys.readouterr().out


def test_force_needs_no_reason(command, runs, champion):
    assert main(command("retrain", "--force")) == 0
    assert len(runs) == 1
    assert champion.client.get_registered_model("digits").tags["retraining.reason"].startswith("Forced.")


def test_after_a_failed_run_the_next_trigger_may_try_again(command, another, monkeypatch, runs, champion):
    def fail(config):
        raise StepError("backbone_training", "it broke", champion.folder / "log")

    working = local.run_locally
    monkeypatch.setattr(local, "run_locally", fail)
    assert main(command("retrain")) == 1
    assert "retraining.started_at" not in champion.client.get_registered_model("digits").tags
    monkeypatch.setattr(local, "run_locally", working)
    assert main(command("retrain")) == 0
    assert len(runs) == 1


def test_on_kubeflow_it_is_a_run_of_the_pipeline(command, another, champion, kubeflow_server, monkeypatch):
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c" * 40)
    assert main(command("retrain", "--host", kubeflow_server.url)) == 0
    (run,) = kubeflow_server.items["runs"]
    assert champion.client.get_registered_model("digits").tags["retraining.run"] == run
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    root = next(yaml.safe_load_all(upload))["root"]
    backbone = root["inputDefinitions"]["parameters"]["backbone"]["defaultValue"]
    assert backbone["weights"] == "models:/digits/1"
    assert "promotion" in root["dag"]["tasks"]


def test_a_server_that_refuses_lets_the_next_trigger_try_again(command, another, champion):
    assert main(command("retrain", "--host", "ftp://nowhere")) == 2
    assert "retraining.started_at" not in champion.client.get_registered_model("digits").tags


def test_two_processes_at_once_make_one_run(command, another, champion):
    log, outputs = champion.folder / "started", []
    arguments = [sys.executable, "-c", TRIGGER, str(log), *command("retrain")]

    def trigger():
        outputs.append(subprocess.run(arguments, capture_output=True, text=True, check=False))

    threads = [threading.Thread(target=trigger) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [output.returncode for output in outputs] == [0, 0], outputs
    assert log.read_text() == "models:/digits/1\n"
    assert sum("Nothing is started" in output.stdout for output in outputs) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--cooldown", "tomorrow"), "no duration"),
        (("--set", "start=features"), "starts from features"),
    ],
)
def test_bad_input_is_one_line(command, capsys, more, message):
    assert main(command("retrain", *more)) == 2
    assert message in capsys.readouterr().err


def test_without_a_champion_the_way_to_the_first_is_named(command, capsys):
    assert main(command("check", model="nothing")) == 2
    error = capsys.readouterr().err
    assert "longtail run --set promotion.model=nothing --set promotion.bootstrap=true" in error
