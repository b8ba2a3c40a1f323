import threading

import pytest
from mlflow.exceptions import MlflowException, RestException
from requests import Response, exceptions

from longtail import retries
from longtail.tracking import run as tracked
from longtail.tracking.attempts import create_run, is_outage, new_key
from longtail.tracking.lineage import logged_models, record_cached_step
from longtail.tracking.recording import Located, Run
from longtail.tracking.run import pipeline_run, step_run, sweep_run


class LosingClient:
    """An `MlflowClient` whose every answer is lost once, after the request was carried out."""

    def __init__(self, client):
        self._client, self.lost = client, set()

    def __getattr__(self, name):
        real = getattr(self._client, name)

        def call(*arguments, **parameters):
            found = real(*arguments, **parameters)
            if name not in self.lost:
                self.lost.add(name)
                raise exceptions.ConnectionError(f"lost the answer to {name}")
            return found

        return call if callable(real) else real


@pytest.fixture
def losing(tracking, monkeypatch):
    monkeypatch.setenv("LONGTAIL_PATIENCE", "600")
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.0)
    client = LosingClient(tracking)
    monkeypatch.setattr(tracked, "_client", lambda: client)
    return client


def write(run, log_model):
    run.log_metrics({"loss": 0.5, "accuracy": 1.0}, step=1)
    run.log_metrics({"loss": 0.25}, step=2)
    run.log_params({"more": 1})
    run.set_tags({"a": "b"})
    run.log_json({"a": 1}, "a.json")
    run.log_dataset("digits", "0" * 64, "training", "s3://bucket/digits")
    return log_model(run)


def work(quick_model, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "p-1")
    with sweep_run("sweep", {"grid": 1}) as sweep, pipeline_run("p-1", {}, {}, name="point", sweep=sweep.run_id) as run:
        with step_run("train", {"epochs": 1}, {}) as step:
            model = write(step, quick_model)
        assert logged_models(run, step.run_id) == [model]
        record_cached_step(run, "extract", step.run_id)
    return run.experiment_id


@pytest.fixture
def quick_model(log_model, monkeypatch):
    """`log_model` with files, which other tests look at, that are quickly made."""

    def write_model(folder, *_):
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: {}")

    monkeypatch.setattr("longtail.tracking.model.write_model", write_model)
    return log_model


def test_lost_answers_double_nothing_and_lose_nothing(losing, tracking, quick_model, everything, monkeypatch):
    experiment = work(quick_model, monkeypatch)
    disturbed = everything(experiment)
    assert {"create_run", "log_batch", "log_inputs", "create_logged_model", "log_outputs"} <= losing.lost
    for run in tracking.search_runs([experiment]):
        tracking.delete_run(run.info.run_id)
    for model in tracking.search_logged_models([experiment]):
        tracking.delete_logged_model(model.model_id)
    monkeypatch.setattr(tracked, "_client", lambda: tracking)
    assert everything(work(quick_model, monkeypatch)) == disturbed
    assert disturbed[1] == 1


def test_a_run_with_a_key_is_created_once(tracking):
    experiment, key = tracking.create_experiment("e"), new_key()
    first = create_run(tracking, experiment, key, name="a", tags={"b": "c"})
    assert create_run(tracking, experiment, key, name="a", tags={"b": "c"}) == first
    assert create_run(tracking, experiment, new_key(), name="a") != first
    assert tracking.get_run(first).data.tags["b"] == "c"


def test_a_server_that_stays_away_is_given_up_once(clean_environment, monkeypatch, caplog):
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0.05")
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.02)
    calls = []

    class Gone:
        def __getattr__(self, name):
            def call(*_, **__):
                calls.append(name)
                raise exceptions.ConnectionError("http://me:hunter2@mlflow is gone")

            return call

    run = Run(lambda: Located(Gone(), "run", "0"))
    run.log_metrics({"a": 1.0})
    assert len(calls) > 1
    before = len(calls)
    run.log_metrics({"a": 2.0})
    run.end("FINISHED")
    assert calls[before:] == ["set_terminated"]
    away, given_up = (record.message for record in caplog.records)
    assert away.startswith("the tracking server is away (ConnectionError") and "hunter2" not in caplog.text
    assert given_up.startswith("tracking could not log metrics")


def _http(status):
    response = Response()
    response.status_code = status
    return exceptions.HTTPError("x", response=response)


def _wrapped(cause):
    """Return an exception as MlflowClient raises it: while another one is handled, not from it."""
    error = MlflowException(f"API request failed with exception {cause}")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (_wrapped(exceptions.ConnectionError("refused")), True),
        (_wrapped(exceptions.ReadTimeout("late")), True),
        (_wrapped(exceptions.SSLError("certificate")), False),
        (_wrapped(ValueError("x")), False),
        (MlflowException("x"), False),
        (MlflowException("API request to endpoint /x failed with error code 503 != 200. Response body: ''"), True),
        (MlflowException("API request to endpoint /x failed with error code 404 != 200. Response body: ''"), False),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "x"}), True),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "x"}), True),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "x"}), False),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "x"}), False),
        (_http(502), True),
        (_http(429), True),
        (_http(403), False),
        (LookupError("x"), False),
    ],
)
def test_what_is_waited_for(error, outage):
    assert is_outage(error) == outage


@pytest.mark.server
def test_a_real_server_that_is_killed_and_started_again_in_a_step_loses_nothing(
    clean_environment, mlflow_server, monkeypatch
):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    monkeypatch.setenv("LONGTAIL_PATIENCE", "120")
    with step_run("train", {}, {}) as run:
        run.log_metrics({"a": 1.0}, step=1)
        mlflow_server.kill()
        back = threading.Timer(1, mlflow_server.start)
        back.start()
        run.log_metrics({"a": 2.0}, step=2)
        back.join()
        run.log_text("report", "report.html")
    client = MlflowClient(tracking_uri=mlflow_server.uri)
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert [entry.value for entry in client.get_metric_history(run.run_id, "a")] == [1.0, 2.0]
