import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.networks import HEADS, build_head
from longtail.retraining.adjustment import adjust_logits, normalise_weights

COUNTS = np.array([500, 90, 20, 3])


@pytest.fixture(params=sorted(HEADS))
def head(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = build_head(request.param, 6, 4)
    with torch.no_grad():
        head.weight *= torch.tensor([[3.0], [2.0], [1.0], [0.5]])
    return head


@pytest.fixture
def x():
    return torch.rand(50, 6, generator=torch.Generator().manual_seed(0))


def test_the_posterior_of_gaussians_becomes_that_of_equal_classes():
    """For normal classes with one variance the posterior is a linear head, whose bias holds the log priors."""
    rng, prior = np.random.default_rng(0), COUNTS / COUNTS.sum()
    means, x = rng.normal(size=(4, 6)), rng.normal(size=(50, 6))
    head = build_head("linear", 6, 4).double()
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(means / 0.7))
        head.bias.copy_(torch.from_numpy(np.log(prior) - np.square(means).sum(axis=1) / 1.4))
    density = np.exp(-np.square(x[:, None] - means).sum(axis=2) / 1.4)
    for adjusted, weights in ((False, prior), (True, np.ones(4))):
        if adjusted:
            adjust_logits(head, COUNTS, 1.0)
        expected = density * weights / (density * weights).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(head(torch.from_numpy(x)).softmax(1).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logits_of_every_head_lose_tau_log_priors(head, x, tau):
    before = head(x)
    adjust_logits(head, COUNTS, tau)
    torch.testing.assert_close(head(x), before - torch.from_numpy(tau * np.log(COUNTS / COUNTS.sum())).float())


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_linear_weights_are_divided_by_powers_of_their_norms(x, tau):
    head = build_head("linear", 6, 4)
    weight = head.weight.detach().clone()
    normalise_weights(head, tau)
    torch.testing.assert_close(head(x), x @ (weight / weight.norm(dim=1, keepdim=True) ** tau).T)
    norms = head.weight.norm(dim=1)
    assert torch.allclose(norms, torch.ones(4)) == (tau == 1)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_a_cosine_head_only_loses_its_bias(x, tau):
    head = build_head("cosine", 6, 4)
    expected = head(x) - head.bias
    normalise_weights(head, tau)
    torch.testing.assert_close(head(x), expected)


def test_norms_of_the_reference_s_cosine_head_become_more_alike():
    head = build_head("cosine_reference", 6, 4)
    with torch.no_grad():
        head.weight *= torch.tensor([[3.0], [2.0], [1.0], [0.5]])

    def spread():
        norms = F.normalize(head.weight.detach(), dim=0).norm(dim=1)
        return float(norms.max() / norms.min())

    before, kept = spread(), copy.deepcopy(head)
    normalise_weights(kept, 0.0)
    torch.testing.assert_close(F.normalize(kept.weight, dim=0), F.normalize(head.weight, dim=0))
    normalise_weights(head, 1.0)
    assert spread() < 0.5 * before
    assert not head.bias.any()


def test_a_class_without_a_direction_stays_zero():
    head = build_head("linear", 6, 4)
    with torch.no_grad():
        head.weight[2] = 0
    normalise_weights(head, 1.0)
    assert not head.weight[2].any()
    assert torch.isfinite(head.weight).all()
