import copy
import dataclasses
import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.config import CurvatureConfig, DistillationConfig, LossConfig, TracePenaltyConfig
from longtail.networks import build, load
from longtail.training import epoch_count, predict
from longtail.training.checkpoint import load_checkpoint
from longtail.training.observation import CurvatureObserver


class StopError(Exception):
    """Stands for anything that ends training from within."""


def stop_at(last):
    def on_epoch(epoch, _):
        if epoch == last:
            raise StopError

    return on_epoch


def test_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(run, same_weights):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, history = run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, _ = run()
    other, _ = run(seed=2)
    assert same_weights(one, again)
    assert not same_weights(one, other)
    assert not one.training
    assert len(history) == 3
    assert history[-1]["train/loss"] < history[0]["train/loss"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_learns_in_each_precision(run, dataset, precision):
    classifier, history = run(epochs=8, precision=precision, augmentation="crop")
    assert history[-1]["train/accuracy"] > 75  # the largest class alone is 30
    test = dataset.split("test")
    assert 100 * np.mean(predict(classifier, test, 100).argmax(1) == test.labels) > 45
    assert next(classifier.parameters()).dtype == torch.float32


def test_one_step_is_sgd_with_momentum_and_weight_decay(run, dataset, make_spec):
    settings = {"network": "lenet", "head": "linear", "batch_size": 10_000, "augmentation": "none"}
    rate, decay, momentum = 0.1, 0.01, 0.5
    trained, history = run(
        epochs=2, schedule="constant", learning_rate=rate, weight_decay=decay, momentum=momentum, **settings
    )
    expected, split = build(make_spec(network="lenet", head="linear"), seed=1), dataset.split("train")
    x, y = expected.preprocess(torch.from_numpy(np.array(split.packed))), torch.from_numpy(split.labels)
    velocity, losses = {}, []
    for _ in range(2):
        loss = F.cross_entropy(expected(x), y)
        losses.append(float(loss.detach()))
        names, parameters = zip(*expected.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
                step = gradient + decay * parameter
                velocity[name] = step if name not in velocity else momentum * velocity[name] + step
                parameter -= rate * velocity[name]
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert [entry["train/loss"] for entry in history] == pytest.approx(losses, rel=1e-5)


def test_learning_rate_follows_the_schedule(run):
    _, history = run(epochs=4, schedule="cosine", batch_size=10_000, learning_rate=0.1)  # one step an epoch
    rates = [entry["train/learning_rate"] for entry in history]
    assert rates == pytest.approx([0.1 * (1 + np.cos(np.pi * progress)) / 2 for progress in (0, 0.25, 0.5, 0.75)])


def test_nesterov_without_momentum_is_plain(run, same_weights):
    assert same_weights(run(nesterov=True, momentum=0.0)[0], run(nesterov=False, momentum=0.0)[0])
    assert not same_weights(run(nesterov=True)[0], run(nesterov=False)[0])


def test_best_validation_epoch_is_kept(run, dataset, same_weights):
    """With the first epoch's own predictions as labels, the first epoch is right everywhere and none is better."""
    first, _ = run(epochs=1, schedule="constant")
    validation = copy.copy(dataset.split("validation"))
    validation.labels = predict(first, validation, 64).argmax(1)
    classifier, history = run(epochs=4, schedule="constant", validation=validation)
    accuracies = [entry["validation/accuracy"] for entry in history]
    assert accuracies[0] == 100 > accuracies[-1]
    assert same_weights(classifier, first)


def test_validation_changes_nothing_but_the_choice(run, dataset):
    _, with_it = run(validation=dataset.split("validation"))
    _, without = run()
    assert [entry["train/loss"] for entry in with_it] == [entry["train/loss"] for entry in without]
    assert all("validation/accuracy" not in entry for entry in without)


def test_loss_that_is_not_finite_ends_training_in_one_line(run):
    with pytest.raises(RuntimeError, match=r"^the loss is \S+ in epoch 1: lower backbone.learning_rate$"):
        run(head="linear", schedule="constant", learning_rate=1e20)


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
def test_run_that_stopped_ends_as_if_it_had_not(run, dataset, same_weights, tmp_path, checkpoint_seconds):
    """Without a checkpoint in time the run starts anew; with one it goes on: the result is the same."""
    settings = {"validation": dataset.split("validation"), "checkpoint_seconds": checkpoint_seconds, "epochs": 4}
    undisturbed, history = run(**settings)
    checkpoint = tmp_path / "run.safetensors"
    for epoch in (1, 3):
        with pytest.raises(StopError):
            run(checkpoint=checkpoint, on_epoch=stop_at(epoch), **settings)
        assert checkpoint.exists() == (checkpoint_seconds == 0)
    resumed, its_history = run(checkpoint=checkpoint, **settings)
    assert same_weights(resumed, undisturbed)
    for one, other in zip(its_history, history, strict=True):
        for name in ("train/loss", "train/accuracy", "validation/accuracy", "train/learning_rate"):
            assert one[name] == other[name]


class Elsewhere:
    """A store in a folder, in the place of the mirror in an object store."""

    url = "s3://bucket/key"

    def __init__(self, folder):
        self.folder, self.offered = folder, []
        folder.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.offered.append("closed")

    def offer(self, path, progress):
        self.offered.append(progress)
        shutil.copy(path, self.folder / "copy")

    def further(self, progress, folder):
        if (self.folder / "copy").exists() and self.offered[-2] > tuple(progress):
            folder.mkdir(exist_ok=True)
            yield Path(shutil.copy(self.folder / "copy", folder / "fetched"))


def test_another_machine_goes_on_from_the_store_as_if_nothing_had_happened(run, same_weights, tmp_path):
    settings, mirror, resumed_from = {"checkpoint_seconds": 0.0}, Elsewhere(tmp_path / "store"), []
    undisturbed, _ = run(**settings)
    with pytest.raises(StopError):
        run(checkpoint=tmp_path / "first" / "run.safetensors", mirror=mirror, on_epoch=stop_at(2), **settings)
    assert mirror.offered[-1] == "closed"  # what was offered last is waited for, whatever happened
    assert (0, 2) in mirror.offered and max(mirror.offered[:-1]) > (1, 0)
    second = {"checkpoint": tmp_path / "second" / "run.safetensors", "mirror": mirror, "on_resume": resumed_from.append}
    resumed, _ = run(**second, **settings)
    assert same_weights(resumed, undisturbed)
    (place,) = resumed_from
    assert place.startswith("epoch 2, step ") and place.endswith(" of s3://bucket/key")


STRONG = {
    "augmentation": "randaugment",
    "colour_jitter": 0.2,
    "cutout": 3,
    "mixing": "cutmix",
    "loss": LossConfig("ldam", reweighting_from=0.5, sampler="class_aware"),
    "distillation": DistillationConfig(weight=0.5, teacher_batch_norm="train"),
    "weight_decay_on": "weights",
}


def test_run_with_everything_on_that_stopped_ends_as_if_it_had_not(run, make_spec, same_weights, tmp_path):
    def train(**settings):
        teacher = build(make_spec(network="small_cnn", head="cosine"), seed=5)
        return run(teacher=teacher, checkpoint_seconds=0.0, **STRONG, **settings)

    undisturbed, history = train()
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(StopError):
        train(checkpoint=checkpoint, on_epoch=stop_at(2))
    resumed, its_history = train(checkpoint=checkpoint)
    assert same_weights(resumed, undisturbed)
    assert [entry["train/loss"] for entry in its_history] == [entry["train/loss"] for entry in history]


PENALTY = TracePenaltyConfig(weight=1e-3, every=2, ramp=0.0)


@pytest.mark.parametrize(
    "penalty", [{"weight": 0.0}, {"start": 1.0}, {"weight": 0.0, "form": "hutchinson", "batch_norm": "train"}]
)
def test_penalty_that_is_never_due_changes_no_bit(run, same_weights, penalty):
    penalised, history = run(trace_penalty=dataclasses.replace(PENALTY, **penalty))
    plain, plain_history = run()
    assert same_weights(penalised, plain)
    for one, other in zip(history, plain_history, strict=True):
        assert all(one[name] == other[name] for name in ("train/loss", "train/accuracy"))
        assert "train/trace_penalty" not in one


def test_penalty_is_reported_and_lowers_the_trace(run):
    _, weak = run(head="linear", trace_penalty=dataclasses.replace(PENALTY, weight=1e-9))
    _, strong = run(head="linear", trace_penalty=dataclasses.replace(PENALTY, weight=0.1, every=1))
    assert strong[-1]["train/trace_penalty"] < 0.7 * weak[-1]["train/trace_penalty"]
    assert all(epoch["train/penalty_skipped"] == 0 for epoch in weak + strong)


@pytest.mark.parametrize("batch_norm", ["share", "eval", "train"])
def test_run_with_penalty_and_curvature_that_stopped_ends_as_if_it_had_not(
    run, dataset, same_weights, tmp_path, batch_norm
):
    curvature = CurvatureConfig(every=1, probes=2, lanczos_steps=2)
    settings = {
        "head": "linear",
        "checkpoint_seconds": 0.0,
        "trace_penalty": dataclasses.replace(PENALTY, every=3, batch_norm=batch_norm),
        "curvature": curvature,
    }

    def observed(**more):
        observer = CurvatureObserver(curvature, dataset.split("train"))
        return *run(observer=observer, **settings, **more), observer.snapshots

    undisturbed, history, snapshots = observed()
    assert [snapshot.epoch for snapshot in snapshots] == [0, 1, 2, 3]
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(StopError):
        observed(checkpoint=checkpoint, on_epoch=stop_at(2))
    reported = []
    resumed, its_history, its_snapshots = observed(
        checkpoint=checkpoint, on_epoch=lambda epoch, metrics: reported.append((epoch, metrics))
    )
    assert same_weights(resumed, undisturbed)
    assert its_snapshots == snapshots
    for one, other in zip(its_history, history, strict=True):
        assert one["train/trace_penalty"] == other["train/trace_penalty"] != 0
    assert [epoch for epoch, _ in reported] == [2, 3]
    assert reported[-1][1]["curvature/trace"] == snapshots[-1].trace


def test_watching_the_curvature_changes_no_bit(run, dataset, same_weights):
    curvature = CurvatureConfig(every=2, probes=2, lanczos_steps=2)
    observer, reported = CurvatureObserver(curvature, dataset.split("train")), {}
    watched, history = run(curvature=curvature, observer=observer, on_epoch=reported.__setitem__)
    plain, plain_history = run()
    assert same_weights(watched, plain)
    assert [epoch["train/loss"] for epoch in history] == [epoch["train/loss"] for epoch in plain_history]
    assert {epoch: "curvature/trace" in metrics for epoch, metrics in reported.items()} == {
        0: True,
        1: False,
        2: True,
        3: True,
    }
    assert not any(name.startswith("curvature") for epoch in history for name in epoch)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": LossConfig("balanced_softmax")},
        {"loss": LossConfig("logit_adjustment", tau=0.5)},
        {"loss": LossConfig("ldam", reweighting_from=0.6)},
        {"loss": LossConfig(sampler="class_aware")},
        {"augmentation": "autoaugment", "cutout": 2},
        {"mixing": "mixup", "mixing_alpha": 0.2},
    ],
)
@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_every_loss_and_augmentation_learns(run, dataset, changes, head):
    classifier, _ = run(epochs=6, head=head, **{"augmentation": "crop", **changes})
    test = dataset.split("test")
    assert 100 * np.mean(predict(classifier, test, 100).argmax(1) == test.labels) > 25  # chance is 10


@pytest.mark.parametrize("name", ["balanced_softmax", "ldam"])
def test_balanced_losses_answer_tail_classes_more_often(run, dataset, name):
    """Averaged over the tail of the test set, which is balanced: the point of these losses."""
    test, tail = dataset.split("test"), np.argsort(dataset.train_counts)[:4]
    loss = LossConfig(name, reweighting_from=0.5 if name == "ldam" else 1.0)

    def recall(loss):
        answers = [
            predict(run(epochs=6, augmentation="crop", loss=loss, seed=seed)[0], test, 100).argmax(1) for seed in (1, 2)
        ]
        return np.mean([
            answer[np.isin(test.labels, tail)] == test.labels[np.isin(test.labels, tail)] for answer in answers
        ])

    assert recall(loss) > recall(LossConfig()) + 0.05


def test_frozen_backbone_keeps_its_weights(run, make_spec):
    before = build(make_spec(network="small_cnn", head="cosine"), seed=1)
    trained, history = run(trainable="head")
    for name, value in trained.backbone.state_dict().items():
        assert torch.equal(value, before.backbone.state_dict()[name]), name
    assert history[-1]["train/loss"] < history[0]["train/loss"]


def test_small_data_sets_get_more_epochs(run, dataset, make_config):
    steps = len(dataset.split("train")) // 64
    assert epoch_count(make_config(epochs=3, minimum_steps=3 * steps), len(dataset.split("train"))) == 3
    assert len(run(epochs=1, minimum_steps=steps + 1)[1]) == 2


def test_finished_run_is_not_trained_again(run, dataset, same_weights, tmp_path):
    settings = {"validation": dataset.split("validation"), "checkpoint": tmp_path / "run.safetensors"}
    finished, history = run(**settings)
    again, its_history = run(on_epoch=stop_at(1), **settings)
    assert same_weights(again, finished)
    assert its_history == history


def test_unreadable_checkpoints_start_the_run_anew(run, same_weights, tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    for name in ("run.safetensors", "run.safetensors.previous"):
        (tmp_path / name).write_bytes(b"half")
    assert same_weights(run(checkpoint=checkpoint)[0], run()[0])


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_sigterm_writes_a_checkpoint_and_exits(run, same_weights, tmp_path, caplog, with_checkpoint):
    checkpoint = tmp_path / "run.safetensors" if with_checkpoint else None
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        run(checkpoint=checkpoint, on_epoch=lambda epoch, _: os.kill(os.getpid(), signal.SIGTERM))
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    if not with_checkpoint:
        assert "lost without a checkpoint" in caplog.text
        return
    position = load_checkpoint(checkpoint)[1]
    assert (position["epoch"], position["step"]) == (1, 1)  # at the end of the step in which it came
    assert same_weights(run(checkpoint=checkpoint)[0], run()[0])


def test_run_that_is_killed_at_random_moments_ends_as_if_it_had_not(run, start, rest, dataset, same_weights, tmp_path):
    settings = {
        "epochs": 30,
        "batch_size": 100,
        "learning_rate": 0.1,
        "precision": "float32",
        "checkpoint_seconds": 0.0,
    }
    undisturbed, history = run(validation=dataset.split("validation"), **settings)
    moments = random.Random(0)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        process, epochs = start(settings, tmp_path)
        for _ in range(moments.randint(1, 3)):
            assert epochs.poll(60)
            epochs.recv()
        process.join(moments.uniform(0, 0.02))
        os.kill(process.pid, number)
        rest(epochs)
        process.join(60)
        assert process.exitcode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        assert not (tmp_path / "network").exists()
    process, epochs = start(settings, tmp_path)
    went_on = rest(epochs)
    process.join(60)
    assert process.exitcode == 0
    assert 0 < len(went_on) < 30
    assert went_on[-1] == 30
    resumed, manifest = load(tmp_path / "network")
    assert same_weights(resumed, undisturbed)
    assert [entry["train/loss"] for entry in manifest["history"]] == [entry["train/loss"] for entry in history]
