"""The whole pipeline on small digits: run, cached, changed, killed."""

import builtins
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import read_json
from longtail.data.dataset import Dataset
from longtail.settings import resolve
from pipelines.local import StepError, run_locally

pytestmark = pytest.mark.local

SMALL = (
    "backbone.epochs=2",
    "features.views=1",
    "retraining.methods=[baseline,tailcalib]",
    "retraining.epochs=1",
    "hessian.images_per_class=1",
    "hessian.probes=2",
    "hessian.lanczos_steps=2",
    "hessian.density_runs=1",
)
RETRAINED = ("classifier_retraining/baseline", "classifier_retraining/tailcalib")
STEPS = {
    *("data_imbalancing", "backbone_training", "feature_extraction", "calibrated_sampling"),
    *(*RETRAINED, "hessian_analysis", "evaluation"),
}
AFTER_CALIBRATION = {"calibrated_sampling", *RETRAINED, "evaluation"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("LONGTAIL_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def first(home):
    return run_locally(resolve("digits", SMALL))


@pytest.fixture(scope="module")
def second(first):
    started = time.monotonic()
    result = run_locally(resolve("digits", SMALL))
    return result, time.monotonic() - started


@pytest.fixture
def client(home):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")


def _children(client, run_id):
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return {run.info.run_name: run for run in found}


class Process:
    """`longtail run` in a process of its own."""

    def __init__(self, home, *arguments):
        self.home, self.before = home, set(_event_files(home))
        command = [sys.executable, "-m", "pipelines.cli", "run", *arguments]
        environment = {**os.environ, "LONGTAIL_HOME": str(home)}
        self.process = subprocess.Popen(
            command, env=environment, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def wait_for(self, step, kind):
        """Wait until an event is there and return the process id of its step."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if any(event["step"] == step and event["kind"] == kind for event in self.events()):
                return _step_process(self.home, step)
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"no event {kind} of {step}: {self.process.communicate()}")

    def events(self):
        new = set(_event_files(self.home)) - self.before
        return [json.loads(line) for path in new for line in path.read_text().splitlines()]

    def end(self):
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err.splitlines()


def _event_files(home):
    return home.glob("runs/*/events.jsonl")


def _step_process(home, step):
    """Return the id of the process that computes a step."""
    name, _, method = step.partition("/")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode().split("\0")
            of_this_test = f"LONGTAIL_HOME={home}\0".encode() in (folder / "environ").read_bytes()
            if of_this_test and command[1:3] == ["-m", "kfp.dsl.executor_main"] and name in command:
                if f'"method": "{method}"' in " ".join(command) or not method:
                    return int(folder.name)
    raise AssertionError(f"no process computes {step}")


def _settings(*changes):
    return [part for change in (*SMALL, *changes) for part in ("--set", change)]


def _table(out):
    """Return the lines of the table that a run prints."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("method"))
    return lines[start : lines.index("", start)]


def test_the_first_run_computes_every_step(first):
    assert set(first.executed) == STEPS
    assert first.cached == ()
    assert [line.split()[0] for line in first.table.splitlines()[2:]] == ["baseline", "tailcalib"]


def test_pages_and_results_are_there(first):
    for page in (first.evaluation_page, first.curvature_page):
        assert "<svg" in page.read_text(encoding="utf-8") or "<img" in page.read_text(encoding="utf-8")
    assert (first.results / "table.txt").read_text(encoding="utf-8").strip() == first.table.strip()
    assert "backbone_training" in first.log.read_text(encoding="utf-8")


def test_the_second_run_computes_nothing_and_says_the_same(first, second):
    result, seconds = second
    assert result.executed == ()
    assert set(result.cached) == STEPS - {"hessian_analysis"} | {"hessian_analysis"}
    assert result.table == first.table
    assert result.results == first.results
    assert seconds < 30


def test_kubeflows_runner_leaves_printing_and_logging_as_they_were(home, first):
    printer, handlers = builtins.print, logging.getLogger().handlers[:]
    run_locally(resolve("digits", SMALL))
    assert builtins.print is printer
    assert logging.getLogger().handlers == handlers
    assert "LONGTAIL_EVENTS" not in os.environ
    assert "KFP_RUN_ID" not in os.environ


def test_one_run_in_mlflow_with_a_child_for_each_step(client, first):
    parent, children = client.get_run(first.run_id), _children(client, first.run_id)
    assert set(children) == STEPS
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert {run.data.tags.get("longtail.cached") for run in children.values()} == {None}
    assert parent.data.params["backbone.epochs"] == "2"
    assert parent.data.tags["dataset_digest"]
    assert parent.data.metrics["test/tailcalib_top1"] == children["evaluation"].data.metrics["test/tailcalib_top1"]
    assert "table.txt" in {file.path for file in client.list_artifacts(first.run_id)}


def test_children_of_a_cached_run_say_where_they_come_from(client, first, second):
    before, after = _children(client, first.run_id), _children(client, second[0].run_id)
    assert set(after) == STEPS
    for step, run in after.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["longtail.cached"] == "true"
        assert run.data.tags["longtail.source_run_id"] == before[step].info.run_id
        assert run.data.metrics == before[step].data.metrics


def test_the_models_read_raw_images_and_score_what_the_table_says(client, first, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    test = Dataset.open(first.results.parents[1] / "data-imbalancing" / "dataset").split("test")
    evaluations = read_json(first.results / "evaluations.json")
    children = _children(client, first.run_id)
    experiment = client.get_run(first.run_id).info.experiment_id
    models = {model.source_run_id: model for model in client.search_logged_models([experiment])}
    mlflow.set_tracking_uri(f"sqlite:///{os.environ['LONGTAIL_HOME']}/mlflow.db")
    try:
        for method in ("baseline", "tailcalib"):
            logged = models[children[f"classifier_retraining/{method}"].info.run_id]
            model = mlflow.pyfunc.load_model(logged.model_uri)
            images = test.images(slice(None))
            assert images.dtype == np.uint8
            right = model.predict(images).argmax(1) == test.labels
            assert 100 * right.mean() == pytest.approx(evaluations[method]["top1"], abs=100.1 / len(right))
    finally:
        mlflow.set_tracking_uri(None)


def test_a_killed_step_and_one_changed_setting(home, client, first):
    """A step that is killed ends the run in one line; after it, only what depends on the setting is computed."""
    process = Process(home, *_settings("calibration.n_neighbors=2"))
    os.kill(process.wait_for("calibrated_sampling", "started"), signal.SIGKILL)
    code, out, err = process.end()
    assert code == 1
    assert out == ""
    assert [line for line in err if line.startswith("error: ")] == [
        "error: calibrated_sampling failed: it was killed or could not start"
    ]
    assert "Traceback" not in "".join(err)
    newest = client.search_runs(["1"], order_by=["attributes.start_time DESC"], max_results=2)
    assert {run.info.run_name.partition("-")[0]: run.info.status for run in newest} == {
        "pipeline": "FAILED",
        "calibrated_sampling": "KILLED",
    }
    result = run_locally(resolve("digits", [*SMALL, "calibration.n_neighbors=2"]))
    assert set(result.executed) == AFTER_CALIBRATION
    assert set(result.cached) == STEPS - AFTER_CALIBRATION
    assert result.table != first.table


def test_an_orphaned_step_ends_by_itself(home, first):
    process = Process(home, *_settings("backbone.epochs=100000"))
    step = process.wait_for("backbone_training", "progress")
    process.process.kill()
    process.process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{step}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{step}").exists()


def test_a_lost_artifact_is_made_again(home, first):
    """Kubeflow's cache may name files that are gone."""
    cached = run_locally(resolve("digits", [*SMALL, "evaluation.few_below=13"]))
    assert set(cached.executed) == {"evaluation"}
    shutil.rmtree(cached.results)
    again = run_locally(resolve("digits", [*SMALL, "evaluation.few_below=13"]))
    assert set(again.executed) == {"evaluation"}
    assert again.table == cached.table


def test_a_wrong_column_is_bad_input(home, tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"picture": pa.array([b"x"]), "label": pa.array([0])}), tmp_path / f"{split}.parquet")
    process = Process(home, "--data", str(tmp_path))
    code, out, err = process.end()
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith("error: ") and "picture" in err[0]


@pytest.mark.slow
def test_a_kill_of_any_step_changes_nothing_in_the_end(first, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for step in ("data_imbalancing", "backbone_training", "feature_extraction", "calibrated_sampling"):
        _kill(home, step)
    for step in (*RETRAINED, "evaluation", "hessian_analysis"):
        _kill(home, step)
    code, out, _ = Process(home, *_settings()).end()
    assert code == 0
    assert _table(out) == first.table.splitlines()


def _kill(home, step):
    process = Process(home, *_settings())
    os.kill(process.wait_for(step, "started"), signal.SIGKILL)
    code, out, err = process.end()
    assert (code, out) == (1, "")
    assert [line for line in err if line.startswith("error: ")] == [
        f"error: {step} failed: it was killed or could not start"
    ]


@pytest.mark.slow
def test_every_step_killed_in_the_middle_of_its_work(first, tmp_path):
    """Training that is killed between checkpoints ends with the table of training that was not."""
    home = tmp_path / "home"
    home.mkdir()
    process = Process(home, *_settings("backbone.checkpoint_seconds=0"))
    os.kill(process.wait_for("backbone_training", "progress"), signal.SIGKILL)
    assert process.end()[0] == 1
    code, out, _ = Process(home, *_settings("backbone.checkpoint_seconds=0")).end()
    assert code == 0
    assert _table(out) == first.table.splitlines()


@pytest.mark.slow
def test_a_folder_of_photographs(photographs, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = [
        "data.imbalance_factor=4",
        "backbone.batch_size=8",
        "evaluation.many_above=20",
        "evaluation.few_below=10",
    ]
    arguments = ["--preset", "cifar10-lt", "--data", str(photographs), *_settings(*settings)]
    code, out, err = Process(home, *arguments).end()
    assert code == 0, err
    assert "8 steps, 0 from the cache" in out
    again = Process(home, *arguments).end()
    assert "8 steps, 8 from the cache" in again[1]
    assert _table(again[1]) == _table(out)


def test_a_step_error_names_the_log(tmp_path):
    error = StepError("evaluation", "KeyError: 'x'", tmp_path / "steps.log")
    assert (str(error), error.log) == ("evaluation failed: KeyError: 'x'", tmp_path / "steps.log")
