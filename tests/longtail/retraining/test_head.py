import math

import numpy as np
import pytest
import torch
from torch import nn

from longtail.config import RetrainingConfig
from longtail.retraining.head import FeatureSet, fit_head


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    real, generated = torch.randn(30, 6, generator=generator), torch.randn(20, 6, generator=generator)
    return FeatureSet(real, generated, torch.randint(0, 4, (50,), generator=generator))


def linear(seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(6, 4)


def fit(head, epoch_set, *, peak=0.1, schedule="constant", seed=0, on_epoch=None, **changes):
    config = RetrainingConfig(**({"epochs": 1, "batch_size": 1000, "momentum": 0.0, "weight_decay": 0.0} | changes))
    fit_head(head, epoch_set, config, peak=peak, schedule=schedule, seed=seed, on_epoch=on_epoch)
    return head


def test_batch_gathers_real_and_generated_rows(features):
    whole = torch.cat([features.real, features.generated])
    assert len(features) == 50
    for rows in ([0, 49, 30, 29, 0], [3, 4], [31, 45]):
        x, y = features.batch(torch.tensor(rows))
        assert torch.equal(x, whole[rows])
        assert torch.equal(y, features.labels[rows])


def test_one_step_is_the_gradient_of_softmax_regression(features):
    head, untrained = linear(), linear()
    fit(head, lambda _epoch, _generator: (features, torch.arange(50)))
    x, y = features.batch(torch.arange(50))
    logits = x.double() @ untrained.weight.detach().double().T + untrained.bias.detach().double()
    error = (logits.softmax(1) - torch.eye(4, dtype=torch.float64)[y]) / 50
    torch.testing.assert_close(head.weight.detach().double(), untrained.weight.detach() - 0.1 * error.T @ x.double())
    torch.testing.assert_close(head.bias.detach().double(), untrained.bias.detach() - 0.1 * error.sum(0))
    assert not head.training


def test_momentum_and_weight_decay_are_those_of_sgd(features):
    """With two equal batches of one epoch: v₁ = g₁ + λw₀, v₂ = 0.5 v₁ + g₂ + λw₁."""
    expected, velocity = linear(), None
    for _ in range(2):
        x, y = features.batch(torch.arange(50))
        gradient = torch.autograd.grad(nn.functional.cross_entropy(expected(x), y), [expected.weight, expected.bias])
        with torch.no_grad():
            step = [g + 0.01 * w for g, w in zip(gradient, expected.parameters(), strict=True)]
            velocity = step if velocity is None else [0.5 * v + s for v, s in zip(velocity, step, strict=True)]
            for w, v in zip(expected.parameters(), velocity, strict=True):
                w -= 0.1 * v
    rows = torch.arange(50).repeat(2)
    head = fit(linear(), lambda *_: (features, rows), batch_size=50, momentum=0.5, weight_decay=0.01)
    torch.testing.assert_close(head.weight, expected.weight, rtol=1e-5, atol=1e-7)


def test_cosine_schedule_falls_over_all_steps_of_all_epochs():
    """A head of one bias whose gradient is constant moves by the rate of each step."""

    class Ramp(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return torch.stack([self.w.expand(len(x)), 100 + 0 * x[:, 0]], dim=1)

    one = FeatureSet(torch.zeros(2, 1), torch.zeros(0, 1), torch.zeros(2, dtype=torch.int64))
    seen = []

    def epoch_set(_epoch, _generator):
        seen.append(head.w.item())
        return one, torch.tensor([0, 1])

    head = Ramp()
    fit(head, epoch_set, schedule="cosine", epochs=3, batch_size=1)  # the gradient is softmax - 1 = -1 throughout
    moved = np.diff([*seen, head.w.item()])
    rates = [0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    np.testing.assert_allclose(moved, np.add(rates[::2], rates[1::2]), rtol=1e-5)


def test_epochs_are_asked_for_in_turn_and_reported(features):
    asked, reported = [], []

    def epoch_set(epoch, generator):
        asked.append(epoch)
        return features, torch.randperm(50, generator=generator)

    fit(linear(), epoch_set, epochs=3, batch_size=8, on_epoch=lambda epoch, metrics: reported.append((epoch, metrics)))
    assert asked == [0, 1, 2]
    assert [epoch for epoch, _ in reported] == [1, 2, 3]
    losses = [metrics["head/loss"] for _, metrics in reported]
    assert losses == sorted(losses, reverse=True)
    assert all(0 <= metrics["head/accuracy"] <= 100 for _, metrics in reported)


def test_metrics_are_means_over_what_was_seen(features):
    reported = {}
    fit(linear(), lambda *_: (features, torch.arange(50)), on_epoch=lambda _, metrics: reported.update(metrics))
    x, y = features.batch(torch.arange(50))
    logits = linear()(x)
    assert reported["head/loss"] == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-5)
    assert reported["head/accuracy"] == pytest.approx(100 * (logits.argmax(1) == y).float().mean().item())


def test_seed_decides(features):
    def epoch_set(_epoch, generator):
        return features, torch.randperm(50, generator=generator)

    one, again, other = (fit(linear(), epoch_set, batch_size=8, seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("head", "tukey"), [("cosine", 1.0), ("cosine", 0.5), ("linear", 1.0), ("linear", 0.5)])
def test_balanced_set_is_real_then_generated_in_one_space(make_world, head, tukey):
    world = make_world(head=head, tukey=tukey)
    balanced = FeatureSet.balanced(world.features, 0, world.samples)
    real = np.array(world.features.train())
    if head == "cosine":
        real /= np.linalg.norm(real, axis=1, keepdims=True)
    np.testing.assert_allclose(balanced.real.numpy(), real**tukey, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(balanced.generated.numpy(), world.samples.rows)
    assert len(balanced) == world.samples.balanced_size == 10 * 200
    assert torch.bincount(balanced.labels).tolist() == [200] * 10


def test_real_set_is_what_the_backbone_gave(make_world):
    world = make_world()
    real = FeatureSet.real_only(world.features, 0)
    x, y = real.batch(torch.arange(len(real)))
    np.testing.assert_array_equal(x.numpy(), world.features.train())
    np.testing.assert_array_equal(y.numpy(), world.features.labels("train"))
