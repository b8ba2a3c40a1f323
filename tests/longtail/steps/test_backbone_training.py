from unittest.mock import create_autospec

import pytest

from longtail.config import DataConfig
from longtail.data.dataset import build_dataset
from longtail.networks import load
from longtail.steps import backbone_training
from longtail.steps.execution import child_seed
from longtail.tracking.recording import Run


class ReachedError(Exception):
    """Training would start now."""


@pytest.fixture
def trained(monkeypatch):
    """What `train` was called with, which is not carried out."""
    given = {}

    def train(classifier, training, validation, config, **parameters):
        given.update(parameters, classifier=classifier, training=training, validation=validation, config=config)
        raise ReachedError

    monkeypatch.setattr(backbone_training, "train", train)
    return given


@pytest.fixture
def key(call, artifacts, trained, tmp_path):
    """Return a function that gives the name of the checkpoint that a step would use."""

    def find(config=None, seed=1, dataset=None):
        given = artifacts | ({"dataset": dataset} if dataset else {})
        with pytest.raises(ReachedError):
            call("backbone_training", tmp_path / "out", given, config, seed=seed)
        assert trained["checkpoint"].parent == tmp_path / "home" / "checkpoints"
        return trained["checkpoint"].name

    return find


def test_the_checkpoint_is_that_of_equal_work_alone(key, monkeypatch, tmp_path):
    build_dataset(DataConfig(source="digits", imbalance_factor=21), tmp_path / "other")
    first = key()
    keys = [first, key({"momentum": 0.8}), key({"epochs": 2}), key(seed=2), key(dataset=tmp_path / "other")]
    monkeypatch.setenv("LONGTAIL_CODE", "abc")
    keys.append(key())
    monkeypatch.setenv("LONGTAIL_CODE", "abd")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    monkeypatch.delenv("LONGTAIL_CODE")
    assert key() == key({"epochs": 1.0}) == first


def test_epochs_are_chosen_on_validation_images_and_never_on_test_images(key, trained, dataset, tmp_path):
    key()
    assert (trained["training"].labels == dataset.split("train").labels).all()
    assert len(trained["validation"]) == 100
    build_dataset(DataConfig(source="digits"), tmp_path / "without")
    key(dataset=tmp_path / "without")
    assert trained["validation"] is None


def test_the_network_is_built_for_the_images(key, trained, dataset):
    key({"network": "lenet", "head": "linear", "scale": 16})
    spec = trained["classifier"].spec
    assert (spec.network, spec.head, spec.scale) == ("lenet", "linear", 16)
    assert (spec.image_shape, spec.class_names) == (dataset.image_shape, dataset.class_names)


def test_training_starts_from_the_weights_of_a_file(key, trained, chain, same_weights):
    backbone = chain["backbone_training"].outputs["backbone"]
    key({"weights": str(backbone / "weights.safetensors")})
    assert same_weights(trained["classifier"].backbone, load(backbone)[0].backbone)


def test_the_artifact_says_how_it_was_trained(chain, dataset):
    done = chain["backbone_training"]
    classifier, manifest = load(done.outputs["backbone"])
    assert (manifest["augmentation"], manifest["dataset_digest"]) == ("crop", dataset.digest)
    assert not classifier.training
    (epoch,) = manifest["history"]
    assert "validation/accuracy" in epoch
    assert done.described == {"backbone": {"epochs": 1, "train_loss": epoch["train/loss"]}}
    page = done.outputs["report"].read_text()
    assert "small_cnn" in page and "<img" in page


def test_further_processes_write_nothing(call, artifacts, monkeypatch, tmp_path):
    monkeypatch.setattr(backbone_training, "train", lambda *_, **__: [])
    monkeypatch.setattr("longtail.training.distributed.rank", lambda: 1)
    done = call("backbone_training", tmp_path / "out", artifacts)
    assert done.described == {}
    assert not list((tmp_path / "out").iterdir())


def test_seconds_are_those_of_all_epochs_also_of_the_teacher(call, artifacts, monkeypatch, tmp_path):
    run = create_autospec(Run, instance=True)
    epoch = {"train/loss": 1.0, "train/accuracy": 50.0}
    histories = iter([
        [epoch | {"train/seconds": 3.0}],
        [epoch | {"train/seconds": 1.0}, epoch | {"train/seconds": 1.5}],
    ])
    monkeypatch.setattr(backbone_training, "train", lambda *_, **__: next(histories))
    call("backbone_training", tmp_path / "out", artifacts, {"distillation": {"weight": 0.5}}, run=run)
    logged = {name: value for call in run.log_metrics.call_args_list for name, value in call.args[0].items()}
    assert logged == {"teacher/train/total_seconds": 3.0, "train/total_seconds": 2.5}


@pytest.mark.parametrize(("seed", "teacher"), [(0, 10), (1, 10), (3, 30)])
def test_teacher_never_has_the_seed_of_its_student(call, artifacts, trained, tmp_path, seed, teacher):
    with pytest.raises(ReachedError):
        call("backbone_training", tmp_path / "out", artifacts, {"distillation": {"weight": 0.5}}, seed=seed)
    assert trained["seed"] == child_seed(teacher, "backbone_training")


def test_curvature_over_the_epochs_is_tracked_drawn_and_on_the_page(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    curvature = {"every": 1, "probes": 2, "lanczos_steps": 2}
    done = call("backbone_training", tmp_path / "out", artifacts, {"epochs": 2, "curvature": curvature}, run=run)
    steps = {entry.kwargs["step"]: entry.args[0] for entry in run.log_metrics.call_args_list if "step" in entry.kwargs}
    assert set(steps) == {0, 1, 2}
    for metrics in steps.values():
        assert {"curvature/trace", "curvature/top_eigenvalue", "curvature/trace/backbone.conv1.weight"} <= set(metrics)
    assert {entry.args[1] for entry in run.log_figure.call_args_list} == {
        "training.png",
        "curvature_by_epoch.png",
        "curvature_by_layer_and_epoch.png",
    }
    page = done.outputs["report"].read_text()
    assert "10 training images, at most 1 of a class" in page
    assert page.count("<img") == 3
