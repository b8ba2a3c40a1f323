import json
from pathlib import Path

import pytest

from longtail.artifacts import sha256_file
from longtail.networks import load

WEIGHTS = "weights.safetensors"


def _train(call, inputs, folder, config=None, **parameters):
    return Path(call("backbone_training", folder, inputs("backbone_training"), config, **parameters)["backbone"].path)


def test_two_epochs_although_the_number_came_as_a_float(chain):
    artifact = chain["backbone_training"]["backbone"]
    history = json.loads((Path(artifact.path) / "manifest.json").read_text())["history"]
    assert len(history) == artifact.metadata["epochs"] == 2
    assert artifact.metadata["train_loss"] == history[-1]["train/loss"] < history[0]["train/loss"]


def test_the_network_knows_what_it_was_trained_on(chain):
    classifier, manifest = load(Path(chain["backbone_training"]["backbone"].path))
    assert manifest["dataset_digest"] == chain["data_imbalancing"]["dataset"].metadata["sha256"]
    assert (classifier.spec.network, classifier.spec.image_shape) == ("small_cnn", (8, 8, 1))
    assert not classifier.training


def test_a_finished_checkpoint_is_not_trained_again(call, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    first = _train(call, inputs, tmp_path / "first", {"epochs": 1.0})
    monkeypatch.setattr("longtail.training.loop.Trainer._step", None)  # a step would fail
    second = _train(call, inputs, tmp_path / "second", {"epochs": 1.0})
    assert sha256_file(first / WEIGHTS) == sha256_file(second / WEIGHTS)


def test_another_seed_gives_other_weights(call, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    weights = [
        sha256_file(_train(call, inputs, tmp_path / str(seed), {"epochs": 1.0}, seed=seed) / WEIGHTS) for seed in (1, 2)
    ]
    assert weights[0] != weights[1]


def test_a_loss_that_explodes_is_an_error_that_says_what_to_do(call, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    config = {"head": "linear", "learning_rate": 1e12, "schedule": "constant"}
    with pytest.raises(RuntimeError, match=r"lower backbone\.learning_rate"):
        _train(call, inputs, tmp_path / "out", config)
    assert not list((tmp_path / "out").iterdir())
