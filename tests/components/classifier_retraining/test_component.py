import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longtail.artifacts import sha256_file
from longtail.data.dataset import Dataset
from longtail.networks import load
from longtail.serving import ServedClassifier

WEIGHTS = "weights.safetensors"


def _retrain(call, inputs, folder, method, **parameters):
    made = call("classifier_retraining", folder, inputs("classifier_retraining"), method=method, **parameters)
    return Path(made["classifier"].path)


def test_the_baseline_is_the_trained_network(chain):
    artifacts = [chain["backbone_training"]["backbone"], chain["classifier_retraining/baseline"]["classifier"]]
    digests = [sha256_file(Path(artifact.path) / WEIGHTS) for artifact in artifacts]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("method", ["crt", "tailcalib", "tailcalibx"])
def test_only_the_head_changes_and_the_same_seed_gives_the_same_bytes(call, inputs, chain, tmp_path, method):
    folders = [_retrain(call, inputs, tmp_path / str(i), method, seed=seed) for i, seed in enumerate((3, 3, 4))]
    first, second, other = (sha256_file(folder / WEIGHTS) for folder in folders)
    assert first == second != other
    before, _ = load(Path(chain["backbone_training"]["backbone"].path))
    after, manifest = load(folders[0])
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}
    assert changed
    assert all(name.startswith("head.") for name in changed)
    assert manifest["method"] == method
    assert [path.name for path in folders[0].parent.iterdir()] == ["classifier"]


def test_an_unknown_method_is_refused(call, inputs, refuses, tmp_path):
    line = refuses(lambda: _retrain(call, inputs, tmp_path, "smote"), tmp_path)
    assert "'smote'" in line and "baseline, crt, tailcalib, tailcalibx" in line


def test_the_logged_model_answers_for_raw_images_as_the_artifact_does(chain, monkeypatch):
    import mlflow

    artifact = chain["classifier_retraining/tailcalib"]["classifier"]
    database = Path(artifact.path).parents[2] / "mlflow.db"
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    try:
        model = mlflow.pyfunc.load_model(artifact.metadata["model_uri"])
    finally:
        mlflow.set_tracking_uri(None)
    dataset = Dataset.open(Path(chain["data_imbalancing"]["dataset"].path))
    images = dataset.split("test").images(slice(7))
    assert images.dtype == np.uint8
    with torch.no_grad():
        expected, _ = ServedClassifier(load(Path(artifact.path))[0])(torch.from_numpy(images))
    answer = model.predict(images, params={"probabilities": True})
    np.testing.assert_allclose(np.stack(answer["probabilities"]), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert list(answer["class"]) == [dataset.class_names[index] for index in expected.argmax(1)]
    assert model.metadata.metadata["subset_sha256"] == dataset.subset_sha256


def test_without_tracking_there_is_no_model_uri(again):
    assert again["classifier_retraining/baseline"]["classifier"].metadata["model_uri"] == ""


def test_the_manifest_ties_it_to_its_features(chain):
    folder = Path(chain["classifier_retraining/tailcalib"]["classifier"].path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["features_digest"] == chain["feature_extraction"]["features"].metadata["sha256"]
    assert manifest["dataset_digest"] == chain["data_imbalancing"]["dataset"].metadata["sha256"]
