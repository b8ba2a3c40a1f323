"""Runs on disk are made by the tracking package itself, from a client that is lost, and sent to a real database."""

import os
import shutil

import boto3
import pytest
from moto import mock_aws
from requests import exceptions

from longtail.tracking import run as tracked
from longtail.tracking.lineage import record_cached_step
from longtail.tracking.offline import IDENTITY, hold, stores_folder
from longtail.tracking.run import pipeline_run, step_run, sweep_run
from longtail.tracking.sync import send_all


class Line:
    """A client of the tracking server that can be cut off."""

    def __init__(self, client):
        self._client, self.is_cut = client, False

    def __getattr__(self, name):
        real = getattr(self._client, name)

        def call(*arguments, **parameters):
            if self.is_cut:
                raise exceptions.ConnectionError(f"no answer to {name}")
            return real(*arguments, **parameters)

        return call if callable(real) else real


@pytest.fixture
def line(tracking, monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "")
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c0ffee")
    found = Line(tracking)
    monkeypatch.setattr(tracked, "_client", lambda: found)
    return found


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def bucket(monkeypatch):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client


def stores():
    return [file.parent for file in stores_folder().glob(f"*/{IDENTITY}")]


def work(monkeypatch, cut=lambda moment: None):
    """Do what a sweep of one pipeline records; `cut` is told where it is."""
    with sweep_run("sweep", {"grid": 1}) as sweep:
        cut("sweep")
        with pipeline_run("p-1", {"seed": 7}, {"a": "b"}, name="point", sweep=sweep.run_id) as run:
            cut("pipeline")
            monkeypatch.setenv("KFP_RUN_ID", "p-1")
            with step_run("train", {"epochs": 2}, {}) as step:
                step.log_metrics({"loss": 0.5}, step=1)
                cut("step")
                step.log_metrics({"loss": 0.25}, step=2)
                step.log_dataset("digits", "0" * 64, "training", "s3://bucket/digits")
                step.log_text("report", "report.html")
                step.set_tags({"mlflow.note.content": "a note"})
            record_cached_step(run, "extract", "")
            cut("end")
            run.log_metrics({"accuracy": 0.5})
        monkeypatch.delenv("KFP_RUN_ID")


@pytest.mark.parametrize("moment", ["start", "sweep", "pipeline", "step", "end"])
def test_what_was_on_disk_arrives_as_if_it_had_been_sent_at_once(line, tracking, uri, everything, monkeypatch, moment):
    work(monkeypatch)
    (experiment,) = [found.experiment_id for found in tracking.search_experiments() if found.name == "longtail"]
    wanted = everything(experiment)
    for run in tracking.search_runs([experiment]):
        tracking.delete_run(run.info.run_id)
    line.is_cut = moment == "start"

    def cut(now):
        line.is_cut = line.is_cut or now == moment

    work(monkeypatch, cut)
    line.is_cut = False
    assert everything(experiment) != wanted
    sent = send_all(uri)
    assert sent and all(run.run_id for run in sent)
    assert everything(experiment) == wanted
    assert not stores()
    assert send_all(uri) == []


def test_a_sending_that_was_cut_off_is_begun_again(line, tracking, uri, everything, monkeypatch, tmp_path):
    line.is_cut = True
    work(monkeypatch)
    shutil.copytree(stores_folder(), tmp_path / "again")
    send_all(uri)
    (experiment,) = [found.experiment_id for found in tracking.search_experiments() if found.name == "longtail"]
    once = everything(experiment)
    shutil.copytree(tmp_path / "again", stores_folder(), dirs_exist_ok=True)
    assert all(run.run_id for run in send_all(uri))
    assert everything(experiment) == once


def test_a_store_that_is_still_written_to_waits_and_one_of_a_killed_process_is_told(line, tracking, uri, monkeypatch):
    line.is_cut = True
    with step_run("train", {}, {}) as run:
        (told,) = send_all(uri)
        assert not told.run_id and "still being recorded" in told.reason
        (store,) = stores()
        killed = stores_folder() / "killed"
        shutil.copytree(store, killed)
    del run
    sent = {tracking.get_run(told.run_id).info.status for told in send_all(uri) if told.run_id}
    assert "KILLED" in sent


def test_what_the_server_refuses_stays(line, tracking, uri, monkeypatch):
    line.is_cut = True
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "404")
    with step_run("train", {}, {}):
        pass
    (told,) = send_all(uri)
    assert not told.run_id and "404" in told.reason and "\n" not in told.reason
    (store,) = stores()
    assert (store / IDENTITY).is_file()
    assert hold(store) is not None


def test_stores_of_pods_come_from_the_object_store(line, tracking, uri, monkeypatch, bucket):
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://bucket/checkpoints")
    line.is_cut = True
    with step_run("train", {}, {}) as run:
        run.log_text("report", "report.html")
        run.log_metrics({"loss": 1.0})
    assert not stores()
    (sent,) = send_all(uri, "s3://bucket/checkpoints")
    assert tracking.get_run(sent.run_id).data.metrics == {"loss": 1.0}
    assert "report.html" in [file.path for file in tracking.list_artifacts(sent.run_id)]
    assert bucket.list_objects_v2(Bucket="bucket")["KeyCount"] == 0
    assert send_all(uri, "s3://bucket/checkpoints") == []
