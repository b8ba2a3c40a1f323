import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.config import LossConfig
from longtail.training.losses import ClassLoss

COUNTS = [500, 60, 5]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 3, generator=generator), torch.randint(0, 3, (64,), generator=generator)


def test_cross_entropy_is_pytorchs(batch):
    logits, labels = batch
    assert torch.equal(ClassLoss(LossConfig(), COUNTS)(logits, labels), F.cross_entropy(logits, labels))


def test_balanced_softmax_is_its_definition(batch):
    """Ren et al. 2020, eq. 3: the softmax in which every class's exponential is multiplied by its count."""
    logits, labels = batch
    weighted = torch.tensor(COUNTS, dtype=torch.float64) * logits.double().exp()
    expected = -(weighted[torch.arange(64), labels] / weighted.sum(1)).log().mean()
    loss = ClassLoss(LossConfig("balanced_softmax"), COUNTS)(logits, labels)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(ClassLoss(LossConfig("logit_adjustment"), COUNTS)(logits, labels)) == float(loss)


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_logit_adjustment_adds_the_log_prior(batch, tau):
    logits, labels = batch
    prior = torch.tensor(COUNTS) / sum(COUNTS)
    expected = F.cross_entropy(logits + tau * prior.log(), labels)
    loss = ClassLoss(LossConfig("logit_adjustment", tau=tau), COUNTS)(logits, labels)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_minimiser_of_the_balanced_softmax_ignores_the_prior():
    """One feature value, two classes equally likely given it in a balanced world: the best logits are equal."""
    counts, logits = [90, 10], torch.zeros(1, 2, requires_grad=True)
    labels = torch.tensor([0] * 90 + [1] * 10)
    ClassLoss(LossConfig("balanced_softmax"), counts)(logits.expand(100, 2), labels).backward()
    assert logits.grad.abs().max() < 1e-6
    plain = torch.zeros(1, 2, requires_grad=True)
    ClassLoss(LossConfig(), counts)(plain.expand(100, 2), labels).backward()
    assert plain.grad.abs().max() > 0.3


def test_ldam_lowers_the_true_class_by_its_margin(batch):
    """Cao et al. 2019: margins fall with the fourth root of the count, the smallest class has the largest."""
    logits, labels = batch
    margins = 0.5 * (torch.tensor(COUNTS) / 5.0) ** -0.25
    assert margins[2] == 0.5
    lowered = logits.clone()
    for row, label in enumerate(labels):
        lowered[row, label] -= 30 * margins[label]
    loss = ClassLoss(LossConfig("ldam"), COUNTS)(logits, labels, torch.tensor(30.0))
    assert float(loss) == pytest.approx(float(F.cross_entropy(lowered, labels)), rel=1e-5)


def test_deferred_weights_are_the_effective_numbers_and_come_late(batch):
    logits, labels = batch
    loss = ClassLoss(LossConfig(reweighting_from=0.8), COUNTS)
    weights = np.array([(1 - 0.9999) / (1 - 0.9999**count) for count in COUNTS])
    weights = torch.tensor(weights / weights.sum() * 3, dtype=torch.float32)
    assert float(loss(logits, labels, progress=0.79)) == float(F.cross_entropy(logits, labels))
    expected = F.cross_entropy(logits, labels, weight=weights)
    assert float(loss(logits, labels, progress=0.8)) == pytest.approx(float(expected), rel=1e-5)
    assert float(ClassLoss(LossConfig(), COUNTS)(logits, labels, progress=0.999)) != pytest.approx(float(expected))


@pytest.mark.parametrize("name", ["cross_entropy", "balanced_softmax", "logit_adjustment", "ldam"])
def test_class_without_images_gives_no_infinity(batch, name):
    logits, _ = batch
    loss = ClassLoss(LossConfig(name, reweighting_from=0.0), [10, 5, 0])
    assert torch.isfinite(loss(logits, torch.zeros(64, dtype=torch.int64)))
