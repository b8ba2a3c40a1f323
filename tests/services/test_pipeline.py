"""The whole pipeline against real servers, undisturbed and with the servers killed in the middle."""

import math
import re
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.services, pytest.mark.timeout(3600)]

SETTINGS = (
    "backbone.epochs=60",
    "backbone.checkpoint_seconds=0",
    "features.views=1",
    "retraining.methods=[baseline,tailcalib]",
    "retraining.epochs=1",
    "hessian.images_per_class=1",
    "hessian.probes=2",
    "hessian.lanczos_steps=2",
    "hessian.density_runs=1",
)
OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]
STEPS = {
    *("data_imbalancing", "backbone_training", "feature_extraction", "calibrated_sampling", "hessian_analysis"),
    *("classifier_retraining/baseline", "classifier_retraining/tailcalib", "evaluation", "head_curvature"),
    "run_report",
}
CHECKPOINTS = {"LONGTAIL_CHECKPOINTS": "s3://images/checkpoints"}
TIMED = re.compile(r"seconds|images_per_second")


@pytest.fixture
def client(services):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=services.mlflow.uri)


def run_id(out):
    return re.search(r"^MLflow .* run (\w+)$", out, re.MULTILINE)[1]


def table(out):
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("method"))
    return lines[start : lines.index("", start)]


def record(client, root):
    """Return all that MLflow has of a pipeline's run, so that equal runs have equal records.

    There are no ids in it, no times, and nothing of how busy the machine was.
    """
    parent = client.get_run(root)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{root}'")
    found = {}
    for run in [parent, *children]:
        histories = {}
        for name in (name for name in run.data.metrics if not name.startswith("system/")):
            entries = client.get_metric_history(run.info.run_id, name)
            told = [(entry.step, 0.0 if TIMED.search(name) else entry.value) for entry in entries]
            assert len({step for step, _ in told}) == len(told), f"{name} is there twice"
            assert all(math.isfinite(value) for _, value in told)
            histories[name] = told
        files = sorted((file.path, file.file_size > 0) for file in client.list_artifacts(run.info.run_id))
        models = len(run.outputs.model_outputs) if run.outputs else 0
        inputs = sorted((entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs)
        name = "pipeline" if run is parent else run.info.run_name
        assert name not in found, f"{name} is there twice"
        found[name] = (run.info.status, run.data.params, histories, files, models, inputs)
    return found


@pytest.fixture(scope="module")
def undisturbed(command, digits):
    """What an undisturbed run printed."""
    code, out, err = command("run", "--preset", "digits", "--data", digits, *OPTIONS, **CHECKPOINTS).end()
    assert code == 0, err
    return out


def test_the_whole_pipeline_on_real_servers(undisturbed, client, services, monkeypatch):
    import mlflow

    found = record(client, run_id(undisturbed))
    assert found.keys() == STEPS | {"pipeline"}
    assert {entry[0] for entry in found.values()} == {"FINISHED"}
    assert [step for step, _ in found["backbone_training"][2]["train/loss"]] == list(range(1, 61))
    assert found["classifier_retraining/tailcalib"][4] == 1
    assert ("table.txt", True) in found["pipeline"][3]
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    models = re.findall(r"models:/\S+", undisturbed)
    assert len(models) == 2
    for uri in models:
        model = mlflow.pyfunc.load_model(uri)
        answer = model.predict(np.zeros((3, 8, 8, 1), np.uint8), params={"probabilities": True})
        assert np.allclose(np.stack(answer["probabilities"]).sum(1), 1)
    keys = {entry["Key"] for entry in services.store.client().list_objects_v2(Bucket="images")["Contents"]}
    assert len([key for key in keys if key.startswith("checkpoints/")]) == 2
    assert any(key.startswith("mlflow/") for key in keys)


def test_servers_that_are_killed_and_started_again_lose_and_double_nothing(
    undisturbed, command, digits, client, services
):
    """The store goes while data are read and models are logged, and both servers in the middle of training."""
    changed = {name: f"{place}-again" for name, place in CHECKPOINTS.items()}
    run = command("run", "--preset", "digits", "--data", digits, *OPTIONS, **changed)
    for moment, gone in (
        (("data_imbalancing", "started"), [services.store]),
        (("backbone_training", "progress", "epoch 3 of 60"), [services.mlflow, services.store]),
        (("classifier_retraining/tailcalib", "started"), [services.store]),
    ):
        run.wait_for(*moment)
        for server in gone:
            server.kill()
        time.sleep(3)
        for server in gone:
            server.start()
    code, out, err = run.end()
    assert code == 0, err
    told = [event["message"] for event in run.events() if event["kind"] == "warning"]
    for outage in ("the tracking server is away", "a checkpoint is not in the store"):
        assert any(outage in message for message in told), told
    assert table(out) == table(undisturbed)
    assert record(client, run_id(out)) == record(client, run_id(undisturbed))
    experiment = client.get_run(run_id(out)).info.experiment_id
    assert len(client.search_logged_models([experiment])) == 4


def weights(services, place):
    return (
        services.store.client().get_object(Bucket="images", Key=f"{place}/backbone/weights.safetensors")["Body"].read()
    )


def test_a_new_pod_goes_on_from_the_store_as_if_nothing_had_happened(command, digits, client, services):
    checkpoints = {"LONGTAIL_CHECKPOINTS": "s3://images/checkpoints-of-pods"}
    data = ("data-imbalancing", "--preset", "digits", "--data", digits, "--out", "s3://images/steps")
    assert command(*data).end()[0] == 0
    training = ["backbone-training", "--preset", "digits", "--dataset", "s3://images/steps/dataset"]
    training += ["--set", "backbone.epochs=30", "--set", "backbone.checkpoint_seconds=0", "--out"]
    code, out, err = command(*training, "s3://images/whole").end()
    assert code == 0, err
    assert out.splitlines() == ["s3://images/whole/backbone", "s3://images/whole/backbone_training.html"]

    first = command(*training, "s3://images/resumed", **checkpoints)
    first.wait_for("backbone_training", "progress", "epoch 10 of 30")
    first.process.kill()
    assert first.end()[0] < 0
    code, _, err = command(*training, "s3://images/resumed", **checkpoints).end()
    assert code == 0, err
    place = re.search(r"resumed at (epoch (\d+), step \d+ of s3://images/checkpoints-of-pods/\w+)", err)
    assert int(place[2]) > 1
    assert weights(services, "resumed") == weights(services, "whole")
    runs = client.search_runs(
        [client.get_experiment_by_name("longtail").experiment_id], "tags.resumed_from LIKE 'epoch%'"
    )
    assert [run.data.tags["resumed_from"] for run in runs] == [place[1]]


def test_a_wrong_password_and_a_wrong_secret_are_one_line(command, digits, services):
    wrong = {"MLFLOW_TRACKING_PASSWORD": "wrong"}
    code, _, err = command("run", "--preset", "digits", "--data", digits, **wrong).end()
    assert (code, len(err.splitlines())) == (2, 1) and "refuses the credentials (401)" in err
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
    code, _, err = command("run", "--preset", "digits", "--data", digits, **wrong).end()
    assert (code, len(err.splitlines())) == (2, 1) and "SignatureDoesNotMatch" in err
