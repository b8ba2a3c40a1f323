import json
from contextlib import contextmanager
from pathlib import Path

import boto3
import numpy as np
import pytest

from longtail.artifacts import artifact_digest, new_artifact, open_artifact, sha256_file
from longtail.steps import STEPS, Artifact, run_step
from longtail.steps.execution import Context, child_seed, home_folder
from longtail.tracking.recording import Run


@pytest.fixture
def opened(monkeypatch):
    """The tracked runs that steps open, by label, in order; their ids are `run-0`, `run-1` and so on."""
    labels = {}

    @contextmanager
    def open_run(label, config, tags, *, last):
        run = Run.silent()
        run.run_id = f"run-{len(labels)}"
        labels[label] = config
        yield run

    monkeypatch.setattr("longtail.steps.execution.step_run", open_run)
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c0ffee")
    return labels


@pytest.fixture
def seen(monkeypatch):
    """Contexts of the toy that stands for every step: it writes small artifacts and pages."""
    contexts = []

    def toy(config, context):
        contexts.append(context)
        for name, path in context.outputs.items():
            if name == "report":
                path.write_text("page")
                continue
            with new_artifact(path, "toy", 1, {"seed": context.seed}) as folder:
                (folder / "data").write_bytes(b"data")
        return {name: {"written": name} for name in context.outputs}

    for step in STEPS:
        monkeypatch.setattr(f"longtail.steps.{step}.run", toy)
    return contexts


@pytest.fixture
def step(opened, seen, tmp_path):
    """Return a function that runs a step with a toy's work and gives its outputs."""

    def run(name, inputs=None, config=None, folder="", **parameters):
        pages = ["report"] if STEPS[name].page else []
        outputs = {
            key: Artifact(str(tmp_path / folder / f"{name}-{key}"), {"kept": 1})
            for key in (*STEPS[name].outputs, *pages)
        }
        run_step(name, config=config or {}, inputs=inputs or {}, outputs=outputs, **parameters)
        return outputs

    return run


def runs(artifact):
    """Return the run of each step that an artifact descends from."""
    return {label: made["run_id"] for label, made in artifact.metadata["lineage"].items()}


def test_child_seeds_of_names_and_seeds_are_independent():
    names = [*STEPS, "classifier_retraining/crt", "classifier_retraining/tailcalib"]
    seeds = np.array([[child_seed(seed, name) for name in names] for seed in range(200)])
    assert len(np.unique(seeds)) == seeds.size
    assert seeds.min() >= 0 and seeds.max() < 2**31  # what every library takes
    correlations = np.corrcoef(seeds.T)[np.triu_indices(len(names), 1)]
    assert np.abs(correlations).max() < 0.35  # 5 standard deviations of unrelated numbers
    assert child_seed(1, "data_imbalancing") == child_seed(1, "data_imbalancing")


def test_a_step_gets_the_child_seed_of_its_label(step, seen):
    step("classifier_retraining", seed=5, method="crt")
    assert seen[0].seed == child_seed(5, "classifier_retraining/crt")
    assert seen[0].method == "crt"


def test_outputs_carry_metadata_beside_their_own(step):
    made = step("backbone_training", seed=7)
    digests = {
        "backbone": artifact_digest(Path(made["backbone"].path)),
        "report": sha256_file(Path(made["report"].path)),
    }
    for name, artifact in made.items():
        lineage = artifact.metadata.pop("lineage")
        assert lineage["backbone_training"]["sha256"] == digests
        assert artifact.metadata == {
            "kept": 1,
            "schema_version": 1,
            "git_commit": "c0ffee",
            "seed": 7,
            "mlflow_run_id": "run-0",
            "written": name,
            "data": {},
            "sha256": digests[name],
        }
        json.dumps(artifact.metadata)


def test_lineage_joins_that_of_all_inputs(step):
    classifiers = [
        Artifact(made["classifier"].path, made["classifier"].metadata)
        for made in (step("classifier_retraining", method=method, folder=method) for method in ("baseline", "crt"))
    ]
    features = step("feature_extraction")["features"]
    made = step("evaluation", {"features": features, "classifiers": classifiers})
    assert runs(made["results"]) == {"evaluation": "run-3"}  # a sweep's summary gets many of them
    assert runs(made["report"]) == {
        "classifier_retraining/baseline": "run-0",
        "classifier_retraining/crt": "run-1",
        "feature_extraction": "run-2",
        "evaluation": "run-3",
    }
    assert set(features.metadata["lineage"]) == {"feature_extraction"}


def test_the_run_is_named_and_gets_all_settings(step, opened):
    step("classifier_retraining", config={"epochs": 2.0}, seed=4, method="crt")
    config = opened["classifier_retraining/crt"]
    assert (config["epochs"], config["seed"], config["method"], config["momentum"]) == (2, 4, "crt", 0.7)
    assert isinstance(config["epochs"], int)


def refused(capsys, seen, run):
    """Return the line of a step that ends with exit code 2 before its work."""
    count = len(seen)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert len(seen) == count
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_changed_input_is_refused(step, seen, capsys):
    dataset = step("data_imbalancing")["dataset"]
    manifest = Path(dataset.path) / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    line = refused(capsys, seen, lambda: step("backbone_training", {"dataset": dataset}))
    assert line.startswith(f"error: {dataset.path} does not match the digest {dataset.metadata['sha256'][:12]}")


@pytest.mark.parametrize("many", [False, True])
def test_a_lost_input_is_refused(step, seen, capsys, tmp_path, many):
    lost = Artifact(str(tmp_path / "lost"))
    line = refused(capsys, seen, lambda: step("backbone_training", {"dataset": [lost] if many else lost}))
    assert line.startswith(f"error: {lost.path} is missing") and "run again without cache" in line


def test_a_wrong_setting_is_refused(step, seen, capsys):
    line = refused(capsys, seen, lambda: step("backbone_training", config={"epocs": 2}))
    assert line == "error: 'backbone.epocs' is not a setting: did you mean 'epochs'?"


def test_an_input_that_is_not_given_is_not_there(step, seen):
    backbone = step("backbone_training")["backbone"]
    step("classifier_retraining", {"backbone": backbone, "dataset": None}, method="crt")
    assert set(seen[-1].inputs) == {"backbone"}


def test_an_input_of_unknown_origin_is_taken(step):
    dataset = Artifact(step("data_imbalancing")["dataset"].path)
    backbone = step("backbone_training", {"dataset": dataset})["backbone"]
    assert runs(backbone) == {"backbone_training": "run-1"}


@pytest.mark.parametrize(("rank", "tracked"), [("0", True), ("1", False), ("7", False)])
def test_only_the_first_process_opens_a_run(step, opened, seen, monkeypatch, rank, tracked):
    monkeypatch.setenv("RANK", rank)
    made = step("backbone_training")
    assert bool(opened) == tracked
    assert made["backbone"].metadata["mlflow_run_id"] == ("run-0" if tracked else "")
    seen[0].run.log_metrics({"train/loss": 1.0})  # a silent run takes it, too


def test_a_further_process_that_writes_nothing_passes(opened, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("longtail.steps.backbone_training.run", lambda config, context: {})
    backbone = Artifact(str(tmp_path / "backbone"))
    run_step("backbone_training", config={}, inputs={}, outputs={"backbone": backbone})
    assert "sha256" not in backbone.metadata


def test_a_failed_attempt_can_be_made_again(step, tmp_path):
    first, second = step("feature_extraction", seed=1)["features"], step("feature_extraction", seed=2)["features"]
    assert first.path == second.path
    assert open_artifact(Path(second.path), "toy", 1)["seed"] == child_seed(2, "feature_extraction")
    assert first.metadata["sha256"] != second.metadata["sha256"] == artifact_digest(Path(second.path))


def test_epochs_are_logged_and_shown(caplog, logger):
    noted = []
    run = Run.silent()
    run.log_metrics = lambda metrics, step: noted.append((metrics, step))
    logger.setLevel("INFO")
    logger.propagate = True
    Context({}, {}, 0, 0, "", run).on_epoch(9)(2, {"train/loss": 0.123456, "train/accuracy": 50.0})
    assert noted == [({"train/loss": 0.123456, "train/accuracy": 50.0}, 2)]
    assert caplog.messages == ["epoch 2 of 9  loss 0.1235  accuracy 50"]


def test_phases_count_each_on_its_own(monkeypatch):
    counted = []

    def progress(label, unit):
        return lambda done, total: counted.append((label, unit, done, total))

    monkeypatch.setattr("longtail.steps.execution.progress", progress)
    show = Context({}, {}, 0, 0, "", Run.silent()).phases("products")
    for phase, done in (("trace", 1), ("spectrum", 1), ("trace", 2)):
        show(phase, done, 2)
    assert counted == [("trace", "products", 1, 2), ("spectrum", "products", 1, 2), ("trace", "products", 2, 2)]


def test_home_folder_outlives_the_step(tmp_path):
    assert home_folder("checkpoints") == tmp_path / "home" / "checkpoints"
    assert home_folder("checkpoints").is_dir()


@pytest.fixture
def bucket(use_store, servers, tmp_path, monkeypatch):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    use_store(server.get_host_and_port()[1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()


def test_artifacts_may_be_in_a_store(step, seen, bucket, capsys):
    local = step("data_imbalancing")
    stored = {name: Artifact(f"s3://bucket/runs/{name}") for name in ("dataset", "report")}
    run_step("data_imbalancing", config={}, inputs={}, outputs=stored)
    assert stored["dataset"].metadata["sha256"] == local["dataset"].metadata["sha256"]
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    assert keys == ["runs/dataset/data", "runs/dataset/manifest.json", "runs/report"]
    step("backbone_training", {"dataset": stored["dataset"]})
    assert artifact_digest(seen[-1].inputs["dataset"]) == stored["dataset"].metadata["sha256"]
    step("evaluation", {"classifiers": [stored["dataset"], local["dataset"]]})
    assert [path.is_dir() for path in seen[-1].inputs["classifiers"]] == [True, True]
    absent = Artifact("s3://bucket/runs/none")
    line = refused(capsys, seen, lambda: step("backbone_training", {"dataset": absent}))
    assert line.startswith("error: s3://bucket/runs/none holds no finished artifact")
    bucket.put_object(Bucket="bucket", Key="runs/dataset/manifest.json", Body=b'{"files": {}}')
    line = refused(capsys, seen, lambda: step("backbone_training", {"dataset": stored["dataset"]}))
    assert "does not match the digest" in line


def test_a_store_that_does_not_take_an_output_fails_the_run(seen, bucket, monkeypatch, capsys):
    ended = []

    @contextmanager
    def open_run(label, config, tags, *, last):
        try:
            yield Run.silent()
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    monkeypatch.setattr("longtail.steps.execution.step_run", open_run)
    outputs = {name: Artifact(f"s3://absent/{name}") for name in ("dataset", "report")}
    with pytest.raises(SystemExit):
        run_step("data_imbalancing", config={}, inputs={}, outputs=outputs)
    assert ended == ["InputError"]
    assert "NoSuchBucket" in capsys.readouterr().err
