import dataclasses

import pytest
import torch
from torch.nn import functional as F

from longtail.config import TracePenaltyConfig
from longtail.networks import build
from longtail.training.trace_penalty import StepPenalty, differentiable

CONFIG = TracePenaltyConfig(weight=0.5, share=0.25, ramp=0.0, largest_gradient=0.0)


@pytest.fixture
def classifier(make_spec):
    return build(make_spec(network="small_cnn", head="linear"), seed=1).train()


@pytest.fixture
def batch(classifier, dataset):
    split = dataset.split("train")
    rows = torch.arange(16)
    return classifier.preprocess(torch.from_numpy(split.images(rows.numpy()))), torch.from_numpy(split.labels[:16])


def penalty(classifier, **changes):
    return StepPenalty(classifier, dataclasses.replace(CONFIG, **changes))


def gradients(classifier):
    return [parameter.grad.clone() for parameter in classifier.parameters()]


def test_due_steps_start_and_ramp(classifier):
    found = penalty(classifier, every=3, start=0.2, ramp=0.4)
    assert [found.weight(step, 0.9) for step in range(5)] == [0.5, 0.0, 0.0, 0.5, 0.0]
    progress = (0.0, 0.19, 0.2, 0.3, 0.4, 0.6, 0.99)
    assert [found.weight(0, share) for share in progress] == pytest.approx([0, 0, 0, 0.125, 0.25, 0.5, 0.5])


@pytest.mark.parametrize("layers", [("middle",), ("all",), ("head.*", "backbone.conv3.*")])
def test_layers_are_those_of_the_settings(classifier, layers):
    names = list(penalty(classifier, layers=layers).estimate.parameters)
    everything = [name for name, _ in classifier.named_parameters()]
    assert (
        names
        == {
            "middle": everything[len(everything) // 4 : 3 * len(everything) // 4 + 1],
            "all": everything,
            "head.*": ["backbone.conv3.weight", "head.weight", "head.bias"],
        }[layers[0]]
    )


def test_a_share_is_seen_as_it_is_evaluated_and_leaves_the_network_as_it_was(classifier, batch):
    x, labels = batch
    before, seen = {name: value.clone() for name, value in classifier.state_dict().items()}, []

    def loss(logits, count):
        seen.append((len(logits), count, logits.detach()))
        return logits, F.cross_entropy(logits, labels[:count])

    found = penalty(classifier, batch_norm="eval")
    trace = found.of_share(x, loss, torch.Generator().manual_seed(0))
    assert seen[0][:2] == (4, 4)
    torch.testing.assert_close(seen[0][2], classifier.eval()(x[:4]).detach())
    assert float(trace.detach()) > 0 and found.estimate.form == "first_order"
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    classifier.train()
    found.of_share(x, loss, torch.Generator())
    assert all(module.training for module in classifier.modules())
    assert penalty(classifier, share=0.01).of_share(x, loss, torch.Generator()).requires_grad
    assert seen[-1][1] == 1


def test_a_share_is_seen_with_its_own_batch_statistics(classifier, batch):
    """In the classifier's mode, without moving an average: the loss's graph from before stays good."""
    x, labels = batch
    seen = []

    def loss(logits, count):
        seen.append(logits.detach())
        return logits, F.cross_entropy(logits, labels[:count])

    before = F.cross_entropy(classifier.train()(x), labels)
    averages = {name: value.clone() for name, value in classifier.named_buffers()}
    trace = penalty(classifier, form="first_order").of_share(x, loss, torch.Generator().manual_seed(0))
    assert all(torch.equal(value, averages[name]) for name, value in classifier.named_buffers())
    (before + trace).backward()
    torch.testing.assert_close(seen[0], classifier(x[:4]).detach())
    assert float(trace.detach()) > 0


def test_gradient_is_that_of_the_sum_and_may_be_shortened(classifier, batch):
    x, labels = batch
    parameters = list(classifier.parameters())
    for limit in (0.0, 1e-3):
        found = penalty(classifier, largest_gradient=limit)
        loss = F.cross_entropy(classifier(x), labels)
        trace = sum(parameter.square().sum() for parameter in parameters)
        classifier.zero_grad()
        expected = torch.autograd.grad(loss + 0.5 * trace, parameters, retain_graph=True)
        found.backward(loss, trace, 0.5, parameters)
        norm = torch.stack([part.norm() for part in expected]).norm()
        factor = limit / norm if limit else 1.0
        for part, exact in zip(gradients(classifier), expected, strict=True):
            torch.testing.assert_close(part, exact * factor, rtol=1e-4, atol=1e-7)
        assert (found.applied, found.skipped, found.total) == (1, 0, pytest.approx(float(trace.detach())))


@pytest.mark.parametrize(
    "broken",
    [
        lambda parameter: parameter.sum() * torch.nan,
        lambda parameter: parameter.sum() * torch.inf,
        lambda parameter: (parameter - parameter.detach()).abs().sqrt().sum(),  # 0, with an infinite derivative
    ],
)
def test_what_is_not_finite_leaves_the_plain_gradient_and_is_counted(classifier, batch, broken):
    x, labels = batch
    parameters, found = list(classifier.parameters()), penalty(classifier, largest_gradient=1.0)
    F.cross_entropy(classifier(x), labels).backward()
    plain = gradients(classifier)
    classifier.zero_grad()
    found.backward(F.cross_entropy(classifier(x), labels), broken(parameters[0]), 0.5, parameters)
    assert all(torch.equal(one, other) for one, other in zip(gradients(classifier), plain, strict=True))
    assert found.metrics() == {"train/penalty_skipped": 1.0}


def test_metrics_are_the_epoch_s_and_survive_a_checkpoint(classifier):
    found = penalty(classifier)
    found.applied, found.skipped, found.total, found.estimate.form = 4, 1, 10.0, "hutchinson"
    again = penalty(classifier)
    again.restore(found.state())
    assert again.estimate.form == "hutchinson"
    assert again.metrics() == {"train/trace_penalty": 2.5, "train/penalty_skipped": 1.0}
    assert again.metrics() == {"train/penalty_skipped": 0.0}


def test_graph_of_batch_statistics_can_be_differentiated_three_times(classifier, batch):
    x, labels = batch
    found = penalty(classifier, batch_norm="train")
    assert found.shares_graph and not penalty(classifier).shares_graph
    with differentiable():
        logits = classifier(x)
    loss = F.cross_entropy(logits, labels)
    trace = found.estimate(logits, loss, torch.Generator().manual_seed(0))
    found.backward(loss, trace, 0.5, list(classifier.parameters()))
    assert found.estimate.form == "hutchinson" and found.applied == 1
