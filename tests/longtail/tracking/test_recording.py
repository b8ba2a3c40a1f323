import json
import logging
import math

import pytest

from longtail.tracking.recording import Located, Run, TrackingError
from longtail.tracking.run import step_run


@pytest.fixture
def run(tracking):
    with step_run("train", {}, {}) as run:
        yield run


def test_metrics_by_epoch_are_read_back(tracking, run):
    for epoch in range(3):
        run.log_metrics({"train/loss": 1.0 / (epoch + 1), "val/accuracy_few": 0.1 * epoch}, step=epoch)
    history = tracking.get_metric_history(run.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_metrics_beyond_one_batch_are_all_logged(tracking, run):
    run.log_metrics({f"eigenvalue/{index}": index for index in range(2100)})
    assert len(tracking.get_run(run.run_id).data.metrics) == 2100


def test_metrics_that_are_not_finite_are_left_out_with_one_warning(tracking, run, caplog):
    run.log_metrics({"a": math.nan, "b": 2.0}, step=1)
    run.log_metrics({"a": math.inf, "b": 3.0}, step=2)
    assert tracking.get_run(run.run_id).data.metrics == {"b": 3.0}
    assert [record.message for record in caplog.records] == ["metrics that are not finite are not logged: a"]


def test_params_are_flattened_and_cut(tracking, run):
    run.log_params({"data": {"source": "digits", "splits": {"seed": 3}}, "methods": ["crt"], "long": "x" * 7000})
    run.log_params({f"many.{index}": index for index in range(250)})
    params = tracking.get_run(run.run_id).data.params
    assert params["data.source"] == "digits"
    assert params["data.splits.seed"] == "3"
    assert params["methods"] == '["crt"]'
    assert params["long"] == "x" * 6000
    assert params["many.249"] == "249"


def test_files_are_stored(tracking, run):
    from matplotlib.figure import Figure

    run.log_figure(Figure(), "spectrum.png")
    run.log_text("<p>report</p>", "report.html")
    run.log_json({"accuracy": 0.5}, "report.json")
    files = {file.path for file in tracking.list_artifacts(run.run_id)}
    assert {"spectrum.png", "report.html", "report.json"} <= files
    path = tracking.download_artifacts(run.run_id, "report.json")
    with open(path, encoding="utf-8") as file:
        assert json.load(file) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("source", "kind", "address"),
    [
        ("/data/digits", "local", {"uri": "/data/digits"}),
        ("s3://bucket/digits", "s3", {"uri": "s3://bucket/digits"}),
        ("https://host/digits", "http", {"url": "https://host/digits"}),
    ],
)
def test_dataset_input_keeps_its_digest(tracking, run, source, kind, address):
    digest = "0123456789abcdef" * 4
    run.log_dataset("digits", digest, "training", source)
    (found,) = tracking.get_run(run.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("digits", digest[:36])
    assert (found.dataset.source_type, json.loads(found.dataset.source)) == (kind, address)
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training", "longtail.digest": digest}


def test_no_secret_reaches_the_database_or_the_files(tracking, run, tmp_path):
    secret = "hunter2-S3cr3t"
    settings = {"data": {"path": f"http://me:{secret}@host/x", "s3_secret_key": secret}}
    run.log_params(settings)
    run.set_tags({"endpoint": f"https://me:{secret}@host", "api_token": secret})
    run.log_json(settings, "settings.json")
    run.log_dataset("digits", "0" * 64, "training", f"https://me:{secret}@host/x")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "settings.json" for file in files)
    assert not [file for file in files if secret.encode() in file.read_bytes()]


def _broken():
    raise OSError("http://me:hunter2@mlflow:5000 is gone\nsecond line")


def test_failure_is_one_warning_and_then_silence(clean_environment, caplog):
    run = Run(_broken)
    run.log_metrics({"a": 1.0})
    run.log_params({"a": 1})
    run.log_dataset("digits", "0", "training", "x")
    run.end("FINISHED")
    assert run.run_id == ""
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "is gone" in record.message
    assert "hunter2" not in record.message
    assert "\n" not in record.message


def test_strict_failure_raises_without_the_secret(clean_environment, monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    with pytest.raises(TrackingError, match="could not start a run") as caught:
        Run(_broken)
    assert "hunter2" not in str(caught.value)


class GoneClient:
    def set_terminated(self, run_id, status, end_time):
        raise OSError("gone")


def test_failed_step_shows_its_own_error_even_if_strict(clean_environment, monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    run = Run(lambda: Located(GoneClient(), "run", "0"))
    run.end("FAILED")
    with pytest.raises(TrackingError, match="could not end the run"):
        run.end("FINISHED")
