"""The whole pipeline on small digits: run, cached, changed, killed."""

import builtins
import contextlib
import html
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import read_json
from longtail.data.dataset import Dataset
from longtail.settings import resolve
from pipelines import local
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
    *(*RETRAINED, "hessian_analysis", "evaluation", "head_curvature"),
}
AFTER_CALIBRATION = {"calibrated_sampling", *RETRAINED, "evaluation", "head_curvature"}


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
    printer, handlers, environment = builtins.print, logging.getLogger().handlers[:], dict(os.environ)
    started = time.monotonic()
    result = run_locally(resolve("digits", SMALL))
    seconds = time.monotonic() - started
    # Kubeflow's runner replaces them.
    assert (builtins.print, logging.getLogger().handlers) == (printer, handlers)
    assert dict(os.environ) == environment
    return result, seconds


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
            runs_it = command[1:3] == ["-m", "kfp.dsl.executor_main"] and name in command
            if of_this_test and runs_it and (not method or f'"method": "{method}"' in " ".join(command)):
                return int(folder.name)
    raise AssertionError(f"no process computes {step}")


def _settings(changes=SMALL):
    return [part for change in changes for part in ("--set", change)]


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
    page = first.page.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        *("Summary", "Data", "Training", "Accuracy by class", "Generated features"),
        *("Curvature over depth", "Curvature of the last layer", "Timings", "Lineage", "Settings"),
    ]
    assert page.count("<img") >= 10
    assert page.count(">computed</td>") == 2 * len(STEPS)
    assert (first.results / "table.txt").read_text(encoding="utf-8").strip() == first.table.strip()
    assert "backbone_training" in first.log.read_text(encoding="utf-8")
    assert first.curvature.startswith("Balancing by tailcalib ")
    assert first.curvature in html.unescape(page)


def test_the_second_run_computes_nothing_and_says_the_same(first, second):
    result, seconds = second
    assert result.executed == ()
    assert set(result.cached) == STEPS
    assert result.table == first.table
    assert result.results == first.results
    assert seconds < 30


def test_one_run_in_mlflow_with_a_child_for_each_step(client, first):
    parent, children = client.get_run(first.run_id), _children(client, first.run_id)
    assert set(children) == {*STEPS, "run_report"}
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert {run.data.tags.get("longtail.cached") for run in children.values()} == {None}
    assert parent.data.params["backbone.epochs"] == "2"
    assert parent.data.tags["dataset_digest"]
    assert parent.data.metrics["test/tailcalib_top1"] == children["evaluation"].data.metrics["test/tailcalib_top1"]
    assert {"table.txt", "report.html"} <= {file.path for file in client.list_artifacts(first.run_id)}
    assert {entry.dataset.name for entry in parent.inputs.dataset_inputs} == {"digits-train", "digits-test"}
    note = parent.data.tags["mlflow.note.content"]
    assert first.curvature in note and "| tailcalib |" in note
    for name, child in children.items():
        assert child.data.tags["dataset_digest"] == parent.data.tags["dataset_digest"], name
        assert child.data.tags["mlflow.note.content"].endswith(".")
    tsne = f"/runs/{children['calibrated_sampling'].info.run_id}/artifacts/tsne.png)"
    assert note.count(tsne) == 1


def test_children_of_a_cached_run_say_where_they_come_from(client, first, second):
    before, after = _children(client, first.run_id), _children(client, second[0].run_id)
    assert set(after) == {*STEPS, "run_report"}
    assert "longtail.cached" not in after.pop("run_report").data.tags
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
            names = np.array(model.metadata.metadata["class_names"])
            right = model.predict(images)["class"] == names[test.labels]
            assert 100 * right.mean() == pytest.approx(evaluations[method]["top1"], abs=100.1 / len(right))
    finally:
        mlflow.set_tracking_uri(None)


def test_a_killed_step_and_one_changed_setting(home, client, first):
    """A step that is killed ends the run in one line; after it, only what depends on the setting is computed."""
    changed = [*SMALL, "calibration.n_neighbors=2"]
    process = Process(home, *_settings(changed))
    os.kill(process.wait_for("calibrated_sampling", "started"), signal.SIGKILL)
    code, out, err = process.end()
    assert (code, out) == (1, "")
    assert _errors(err) == ["error: calibrated_sampling failed: it was killed or could not start"]
    parent = _newest_parent(client, first)
    assert parent.info.status == "FAILED"
    assert {run.info.status for run in _children(client, parent.info.run_id).values()} <= {"FINISHED", "KILLED"}

    result = run_locally(resolve("digits", changed))
    assert set(result.executed) == AFTER_CALIBRATION
    assert set(result.cached) == STEPS - AFTER_CALIBRATION
    assert result.results != first.results

    shutil.rmtree(result.results)  # what the cache names is gone
    again = run_locally(resolve("digits", changed))
    assert again.executed == ("evaluation", "head_curvature")
    assert again.table == result.table


def _newest_parent(client, first):
    experiment = client.get_run(first.run_id).info.experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    return next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)


def _errors(lines):
    assert "Traceback" not in "".join(lines)
    return [line for line in lines if line.startswith("error: ")]


def test_an_orphaned_step_ends_by_itself(home, first):
    process = Process(home, *_settings([*SMALL, "backbone.epochs=100000"]))
    step = process.wait_for("backbone_training", "progress")
    process.process.kill()
    process.process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{step}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{step}").exists()


def test_a_wrong_column_is_bad_input(home, tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"picture": pa.array([b"x"]), "label": pa.array([0])}), tmp_path / f"{split}.parquet")
    process = Process(home, "--data", str(tmp_path))
    code, out, err = process.end()
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith("error: ") and "picture" in err[0]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_kill_of_any_step_changes_nothing_in_the_end(first, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for step in ("data_imbalancing", "backbone_training", "feature_extraction", "calibrated_sampling"):
        _kill(home, step)
    for step in (*RETRAINED, "evaluation", "hessian_analysis", "head_curvature"):
        _kill(home, step)
    code, out, _ = Process(home, *_settings()).end()
    assert code == 0
    assert _table(out) == first.table.splitlines()


def _kill(home, step):
    # A branch of the pipeline that does not need a killed step goes on and is in the cache afterwards.
    folder = f"/{step.partition('/')[0].replace('_', '-')}/"
    for entry in home.glob("cache/*.json"):
        if folder in entry.read_text():
            entry.unlink()
    process = Process(home, *_settings())
    os.kill(process.wait_for(step, "started"), signal.SIGKILL)
    code, out, err = process.end()
    assert (code, out) == (1, "")
    assert [line for line in err if line.startswith("error: ")] == [
        f"error: {step} failed: it was killed or could not start"
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_killed_between_checkpoints_ends_as_training_that_was_not(first, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = _settings([*SMALL, "backbone.checkpoint_seconds=0"])
    process = Process(home, *settings)
    os.kill(process.wait_for("backbone_training", "progress"), signal.SIGKILL)
    assert process.end()[0] == 1
    code, out, _ = Process(home, *settings).end()
    assert code == 0
    assert _table(out) == first.table.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_folder_of_photographs(photographs, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    changes = (
        "data.imbalance_factor=4",
        "backbone.batch_size=8",
        "evaluation.many_above=20",
        "evaluation.few_below=10",
    )
    arguments = ["--preset", "cifar10-lt", "--data", str(photographs), *_settings([*SMALL, *changes])]
    code, out, err = Process(home, *arguments).end()
    assert code == 0, err
    assert "9 steps, 0 from the cache" in out
    _, again, _ = Process(home, *arguments).end()
    assert "9 steps, 9 from the cache" in again
    assert _table(again) == _table(out)


def test_a_table_of_features(feature_table, tmp_path, monkeypatch):
    """From a table to models that read its rows, by the command; and once more from the cache."""
    import mlflow

    home = tmp_path / "home"
    home.mkdir()
    settings = _settings(["head.minimum_steps=50", "retraining.methods=[baseline,tailcalib]", "retraining.epochs=1"])
    code, out, err = Process(home, "--features", str(feature_table), *settings).end()
    assert code == 0, err
    assert "7 steps, 0 from the cache" in out
    (page,) = [line.split()[-1] for line in out.splitlines() if line.startswith("page ")]
    assert "<h2>Curvature of the last layer</h2>" in Path(page).read_text(encoding="utf-8")
    _, again, _ = Process(home, "--features", str(feature_table), *settings).end()
    assert "7 steps, 7 from the cache" in again
    assert _table(again) == _table(out)

    (folder,) = home.glob("steps/*/feature-import/features")
    test = np.load(folder / "test" / "ids.npy")
    (results,) = home.glob("steps/*/evaluation/results/evaluations.json")
    rows = np.stack([column.to_numpy() for column in pq.read_table(feature_table).columns[:-1]], axis=1)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    try:
        for line in (line for line in out.splitlines() if line.startswith("model ")):
            uri, method = line.split()[1:]
            model = mlflow.pyfunc.load_model(uri)
            labels = np.array(model.metadata.metadata["class_names"])[np.load(folder / "test" / "labels.npy")]
            right = model.predict(rows[test])["class"] == labels
            assert 100 * right.mean() == pytest.approx(read_json(results)[method]["top1"])
        runs = mlflow.search_runs(experiment_names=["longtail"], output_format="list")
    finally:
        mlflow.set_tracking_uri(None)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 2
    for parent in parents:
        assert {key.partition(".")[0] for key in parent.data.params} >= {"start", "table", "head", "calibration"}
        assert not [key for key in parent.data.params if key.startswith(("data.", "backbone."))]
        assert {entry.dataset.name for entry in parent.inputs.dataset_inputs} == {"features-train", "features-test"}


def test_threads_may_share_the_log(tmp_path):
    lengths = [i % 700 for i in range(4000)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with local._SharedLog(tmp_path / "steps.log") as stream, ThreadPoolExecutor(4) as pool:
            for letter in "aéc°":
                pool.submit(lambda letter=letter: [stream.write(letter * length + "\n") for length in lengths])
    finally:
        sys.setswitchinterval(before)
    lines = (tmp_path / "steps.log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(letter * length for letter in "aéc°" for length in lengths)


def test_a_step_error_names_the_log(tmp_path):
    error = StepError("evaluation", "KeyError: 'x'", tmp_path / "steps.log")
    assert (str(error), error.log) == ("evaluation failed: KeyError: 'x'", tmp_path / "steps.log")
