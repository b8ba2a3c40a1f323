import json
import multiprocessing
import os
import time

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.tracking import identity
from longtail.tracking import run as tracked
from longtail.tracking.lineage import record_cached_step
from longtail.tracking.run import close_pipeline_run, git_commit, pipeline_run, step_run, sweep_run

CONFIG = {"seed": 7, "backbone": {"network": "small_cnn", "epochs": 2}}


def _experiment(tracking):
    return tracking.get_experiment_by_name("longtail")


def _runs(tracking):
    return tracking.search_runs([_experiment(tracking).experiment_id])


def test_pipeline_run_records_its_configuration(tracking, tmp_path):
    with pipeline_run("p-1", CONFIG, {"dataset_digest": "abc"}) as run:
        assert tracking.get_run(run.run_id).info.status == "RUNNING"
    found = tracking.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "7", "backbone.network": "small_cnn", "backbone.epochs": "2"}
    tags = found.data.tags
    assert tags["kfp.pipeline_run_id"] == "p-1"
    assert (tags["seed"], tags["schema_version"], tags["dataset_digest"]) == ("7", "1", "abc")
    assert found.info.artifact_uri.startswith((tmp_path / "artifacts").as_uri())
    with open(tracking.download_artifacts(run.run_id, "config.json"), encoding="utf-8") as file:
        assert json.load(file) == CONFIG


def test_pipeline_run_is_found_again(tracking):
    with pipeline_run("p-1", CONFIG, {}) as first:
        pass
    with pipeline_run("p-1", CONFIG, {}) as second:
        assert tracking.get_run(second.run_id).info.status == "RUNNING"
    assert first.run_id == second.run_id
    assert len(_runs(tracking)) == 1


def test_step_is_nested_under_its_pipeline(tracking, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "p-2")
    with step_run("train", CONFIG, {}) as train:
        pass
    with step_run("evaluate", CONFIG, {}) as evaluate:
        pass
    with pipeline_run("p-2", CONFIG, {}) as parent:
        pass
    for child, name in ((train, "train"), (evaluate, "evaluate")):
        found = tracking.get_run(child.run_id)
        assert found.info.run_name == name
        assert found.data.tags["mlflow.parentRunId"] == parent.run_id
        assert found.info.status == "FINISHED"
    assert len(_runs(tracking)) == 3


def test_a_sweeps_pipelines_nest_below_it_and_steps_below_them(tracking, monkeypatch):
    with sweep_run("sweep digits", {"grid": {"calibration.n_neighbors": ["1", "2"]}}) as sweep:
        for number in ("1", "2"):
            with pipeline_run(f"p-{number}", CONFIG, {}, name=f"K={number}", sweep=sweep.run_id) as point:
                monkeypatch.setenv("KFP_RUN_ID", f"p-{number}")
                with step_run("train", CONFIG, {}) as step:
                    pass
            close_pipeline_run(f"p-{number}", succeeded=True)
            found = tracking.get_run(point.run_id)
            assert found.info.run_name == f"K={number}"
            assert found.info.status == "FINISHED"
            assert found.data.tags["mlflow.parentRunId"] == sweep.run_id
            assert tracking.get_run(step.run_id).data.tags["mlflow.parentRunId"] == point.run_id
    found = tracking.get_run(sweep.run_id)
    assert (found.info.run_name, found.info.status) == ("sweep digits", "FINISHED")
    assert found.data.params == {"grid.calibration.n_neighbors": '["1", "2"]'}
    assert "mlflow.parentRunId" not in found.data.tags
    assert len(_runs(tracking)) == 5


def test_attached_run_is_used_but_not_ended(tracking, monkeypatch):
    with pipeline_run("p-3", {}, {}) as parent:
        monkeypatch.setenv("MLFLOW_RUN_ID", parent.run_id)
        monkeypatch.setenv("KFP_RUN_ID", "p-other")
        with step_run("train", CONFIG, {}) as run:
            run.log_metrics({"accuracy": 0.5})
        with pytest.raises(ZeroDivisionError), step_run("train", CONFIG, {}):
            _ = 1 / 0
        assert tracking.get_run(parent.run_id).info.status == "RUNNING"
        assert os.environ["MLFLOW_RUN_ID"] == parent.run_id
    assert run.run_id == parent.run_id
    found = tracking.get_run(parent.run_id)
    assert found.data.metrics == {"accuracy": 0.5}
    assert found.info.run_name.startswith("pipeline-")
    assert len(_runs(tracking)) == 1


def test_step_without_a_pipeline_is_a_run_of_its_own(tracking):
    with step_run("train", CONFIG, {}) as run:
        pass
    assert "mlflow.parentRunId" not in tracking.get_run(run.run_id).data.tags


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_run_ends_as_its_block_does(tracking, error, status):
    with pytest.raises(type(error)), step_run("train", {}, {}) as run:
        raise error
    assert tracking.get_run(run.run_id).info.status == status


def test_experiment_can_be_named(tracking, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with step_run("train", {}, {}) as run:
        pass
    assert run.experiment_id == tracking.get_experiment_by_name("mine").experiment_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    with step_run("train", {}, {}) as run:
        pass
    assert run.experiment_id == "0"


def test_pipeline_run_id_that_could_change_the_search_is_refused(tracking, monkeypatch):
    with pytest.raises(InputError, match="only letters"), pipeline_run("x' OR 1", {}, {}):
        pass
    monkeypatch.setenv("KFP_RUN_ID", "a b")
    with pytest.raises(InputError, match="'a b'"), step_run("train", {}, {}):
        pass


def _race(barrier, found):
    """Look for the parent, wait until the other process has looked too, and go on."""
    look = identity.find_parents
    waited = []

    def look_together(*arguments):
        result = look(*arguments)
        if not waited:
            waited.append(True)
            barrier.wait(timeout=30)
        return result

    identity.find_parents = look_together
    with step_run("train", {}, {}) as run:
        found.put((run.run_id, os.environ["KFP_RUN_ID"]))


def test_two_processes_that_both_find_no_parent_end_with_one(tracking, monkeypatch):
    with step_run("warm up", {}, {}):
        pass
    monkeypatch.setenv("KFP_RUN_ID", "p-race")
    monkeypatch.setattr(identity, "_SETTLE_SECONDS", 1.0)
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_race, args=(barrier, found)) for _ in range(2)]
    for process in processes:
        process.start()
    children = [found.get(timeout=60)[0] for _ in processes]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    parents = {tracking.get_run(child).data.tags["mlflow.parentRunId"] for child in children}
    assert len(parents) == 1
    tagged = tracking.search_runs([_experiment(tracking).experiment_id], "tags.`kfp.pipeline_run_id` = 'p-race'")
    assert [run.info.run_id for run in tagged] == list(parents)


def test_exit_handler_ends_the_pipeline_and_its_lost_steps(tracking, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "p-5")
    with step_run("train", {}, {}) as done:
        pass
    parent = tracking.get_run(done.run_id).data.tags["mlflow.parentRunId"]
    lost = tracking.create_run(done.experiment_id, tags={"mlflow.parentRunId": parent}).info.run_id
    close_pipeline_run("p-5", succeeded=False)
    assert tracking.get_run(parent).info.status == "FAILED"
    assert tracking.get_run(lost).info.status == "KILLED"
    assert tracking.get_run(done.run_id).info.status == "FINISHED"


def test_closing_an_unknown_pipeline_makes_no_run(tracking, monkeypatch, caplog):
    monkeypatch.delenv("LONGTAIL_TRACKING")
    close_pipeline_run("p-none", succeeded=True)
    assert "no run has the tag" in caplog.text
    assert _runs(tracking) == []


def test_git_commit_comes_from_the_environment_first(monkeypatch):
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c0ffee")
    assert git_commit() == "c0ffee"


def test_git_commit_of_a_package_outside_any_source_tree_is_empty(monkeypatch, tmp_path, clean_environment):
    monkeypatch.setattr(tracked, "__file__", str(tmp_path / "run.py"))
    assert git_commit() == ""


def test_dead_server_does_not_fail_a_step(clean_environment, monkeypatch, dead_port, tmp_path, caplog):
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{dead_port}")
    monkeypatch.setenv("KFP_RUN_ID", "p-6")
    start = time.monotonic()
    with step_run("train", CONFIG, {}) as run:
        run.log_metrics({"accuracy": 0.5})
    record_cached_step(run, "extract", "")
    assert run.run_id
    (store,) = [path.parent for path in (tmp_path / "offline").glob("*/identity.json")]
    (said,) = [record.message for record in caplog.records if record.name.startswith("longtail")]
    assert str(store) in said and "`longtail sync`" in said
    assert "hunter2" not in caplog.text
    assert time.monotonic() - start < 20


def test_tracking_that_is_off_asks_no_server_and_keeps_nothing(clean_environment, monkeypatch, dead_port, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port}")
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    monkeypatch.setenv("LONGTAIL_TRACKING", "off")
    with step_run("train", CONFIG, {}) as run:
        run.log_metrics({"accuracy": 0.5})
    assert run.run_id == "" and not list(tmp_path.iterdir())
    monkeypatch.setenv("LONGTAIL_TRACKING", "on")
    with (
        pytest.raises(InputError, match="is 'on': give strict, off or nothing"),
        step_run("a", {}, {}),
    ):
        pass


def test_dead_server_fails_a_strict_step(clean_environment, monkeypatch, dead_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port}")
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    with pytest.raises(tracked.TrackingError, match="could not start a run"), step_run("train", CONFIG, {}):
        pass


@pytest.mark.server
def test_real_server_keeps_everything_and_may_die_during_a_step(
    clean_environment, mlflow_server, log_model, monkeypatch, caplog
):
    import mlflow
    from mlflow import MlflowClient

    uri = mlflow_server.uri
    client = MlflowClient(tracking_uri=uri)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("KFP_RUN_ID", "p-7")
    tracked.check_tracking_server(uri)
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    with step_run("train", CONFIG, {}) as run:
        run.log_metrics({"accuracy": 0.5}, step=1)
        run.log_dataset("digits", "0" * 64, "training", "s3://bucket/digits")
        model = log_model(run)
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"accuracy": 0.5}
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["config.json"]
    assert client.get_logged_model(model.removeprefix("models:/")).status == "READY"
    answer = mlflow.pyfunc.load_model(model).predict(np.zeros((3, 3), np.float32))
    assert set(answer["class"]) <= {"top", "bottom"} and len(answer) == 3
    monkeypatch.setenv("LONGTAIL_TRACKING", "")
    monkeypatch.setenv("LONGTAIL_HOME", str(mlflow_server.folder))
    with step_run("evaluate", CONFIG, {}) as run:
        mlflow_server.kill()
        run.log_metrics({"accuracy": 0.5})
        run.log_text("report", "report.html")
    assert run.run_id
    assert len([record for record in caplog.records if record.name.startswith("longtail")]) == 1
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    with pytest.raises(tracked.TrackingError), step_run("promote", CONFIG, {}):
        pass


def test_steps_say_how_a_pipeline_stands_that_nobody_watches(tracking, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "p-8")

    def status():
        (found,) = tracking.search_runs([_experiment(tracking).experiment_id], "tags.`kfp.pipeline_run_id` = 'p-8'")
        return found.info.status

    with pytest.raises(ValueError, match="bad"), step_run("train", {}, {}):
        assert status() == "RUNNING"
        raise ValueError("bad")
    assert status() == "FAILED"
    with step_run("train", {}, {}):  # the cluster tries again
        assert status() == "RUNNING"
    assert status() == "RUNNING"
    with step_run("run_report", {}, {}, last=True):
        pass
    assert status() == "FINISHED"
    monkeypatch.setenv(identity.SUPERVISOR, "1")
    with pytest.raises(ValueError, match="bad"), step_run("train", {}, {}):
        raise ValueError("bad")
    assert status() == "FINISHED"
