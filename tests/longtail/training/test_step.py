import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.config import DistillationConfig, LossConfig, TracePenaltyConfig
from longtail.hessian.batch_norm import ComposedBatchNorm
from longtail.hessian.regularization import TracePenalty
from longtail.networks import build
from longtail.training.distillation import Distillation
from longtail.training.step import Place, Step
from longtail.training.streams import PROBES, generator

COUNT = 24
PENALTY = TracePenaltyConfig(weight=1e-2, ramp=0.0, largest_gradient=0.0, every=5, share=0.5)


@pytest.fixture
def take(dataset, make_spec, make_config):
    """Return a function that takes one step of a new network; it returns the network and what the step returned."""

    def call(*, step=0, precision="float32", teacher=None, network="small_cnn", head="linear", **changes):
        config = make_config(network=network, head=head, momentum=0.0, schedule="constant", **changes)
        classifier, split = build(make_spec(network=network, head=head), seed=1), dataset.split("train")
        images, labels = torch.from_numpy(np.array(split.images(np.arange(COUNT)))), torch.from_numpy(split.labels)
        counts = np.bincount(split.labels, minlength=10)
        taken = Step(classifier, config, counts, 7, teacher and Distillation(teacher, config.distillation))
        found = taken(images, labels[:COUNT], torch.Generator().manual_seed(0), Place(0, step, 10, 2), precision)
        return classifier, taken, found

    return call


def weights(classifier):
    return torch.cat([parameter.detach().reshape(-1) for parameter in classifier.parameters()])


def test_place_tells_the_progress():
    assert Place(1, 5, 10, 4).progress == 0.375


@pytest.mark.parametrize("batch_norm", ["share", "eval", "train"])
def test_step_descends_on_loss_and_trace(take, dataset, make_spec, batch_norm):
    penalty = dataclasses.replace(PENALTY, batch_norm=batch_norm)
    trained, _, (sums, rate) = take(trace_penalty=penalty, weight_decay=0.0)
    expected, split = build(make_spec(network="small_cnn", head="linear"), seed=1), dataset.split("train")
    x, y = expected.preprocess(torch.from_numpy(np.array(split.images(np.arange(COUNT))))), split.labels[:COUNT]
    labels, probes = torch.from_numpy(y), generator(7, PROBES, 0, 0, 0)
    parameters = list(expected.parameters())
    loss = F.cross_entropy(expected.train()(x), labels)
    slope = torch.autograd.grad(loss, parameters)
    with ComposedBatchNorm():
        few = COUNT if batch_norm == "train" else COUNT // 2
        logits = expected.train(batch_norm != "eval")(x[:few])
        trace = TracePenalty(expected)(logits, F.cross_entropy(logits, labels[:few]), probes)
    total = [one + 1e-2 * other for one, other in zip(slope, torch.autograd.grad(trace, parameters), strict=True)]
    for parameter, gradient, found in zip(parameters, total, trained.parameters(), strict=True):
        torch.testing.assert_close(found, parameter - rate * gradient, rtol=1e-3, atol=2e-5)
    assert float(sums[0]) == pytest.approx(COUNT * float(loss.detach()), rel=1e-4)


def test_step_that_is_not_due_changes_no_bit(take):
    plain = take(step=3)[0]
    for penalty in (PENALTY, dataclasses.replace(PENALTY, batch_norm="train", form="hutchinson")):
        assert torch.equal(weights(take(step=3, trace_penalty=penalty)[0]), weights(plain))
        assert not torch.equal(weights(take(step=5, trace_penalty=penalty)[0]), weights(plain))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": LossConfig("balanced_softmax"), "head": "cosine"},
        {"loss": LossConfig("logit_adjustment", tau=0.5)},
        {"loss": LossConfig("ldam", reweighting_from=0.0), "head": "cosine"},
        {"loss": LossConfig("ldam", reweighting_from=0.0), "mixing": "mixup", "head": "cosine"},
        {"mixing": "cutmix", "network": "lenet"},
        {"precision": "bfloat16"},
        {"trainable": "head"},
        {"distillation": DistillationConfig(weight=0.5)},
    ],
)
@pytest.mark.parametrize("form", ["first_order", "hutchinson"])
@pytest.mark.parametrize("batch_norm", ["share", "eval", "train"])
def test_every_loss_and_recipe_has_a_penalty(take, make_spec, changes, form, batch_norm):
    head = changes.get("head", "linear")
    teacher = build(make_spec(network="small_cnn", head=head), seed=5) if "distillation" in changes else None
    penalty = dataclasses.replace(PENALTY, form=form, batch_norm=batch_norm)
    penalised, step, _ = take(teacher=teacher, trace_penalty=penalty, **changes)
    teacher = build(make_spec(network="small_cnn", head=head), seed=5) if "distillation" in changes else None
    plain, _, _ = take(teacher=teacher, **changes)
    assert (step.penalty.applied, step.penalty.skipped) == (1, 0)
    assert not torch.equal(weights(penalised), weights(plain))
    assert weights(penalised).isfinite().all()
    for name, buffer in plain.named_buffers():  # the penalty's own forward pass does not count
        torch.testing.assert_close(penalised.get_buffer(name), buffer, rtol=2e-2, atol=2e-3)
