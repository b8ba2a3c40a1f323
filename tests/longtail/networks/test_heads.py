import math

import pytest
import torch
from torch.nn import functional as F

from longtail.networks.heads import HEADS, CosineHead, LinearHead, build_head, normalises_features


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def features():
    return torch.rand(7, 12, generator=generator())


def set_weights(head, seed=1):
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator(seed)))
        head.bias.copy_(torch.randn(head.bias.shape, generator=generator(seed + 1)))
    return head


def test_softplus_of_ten_is_the_initial_scale():
    head = CosineHead(4, 3)
    torch.nn.init.zeros_(head.bias)
    aligned = 5 * head.weight.detach()
    largest = head(aligned).diagonal()
    torch.testing.assert_close(largest, torch.full((3,), 10.0000454), rtol=1e-6, atol=0)
    assert math.log1p(math.exp(10)) == pytest.approx(10.0000454, abs=1e-7)


def test_cosine_head_equals_its_formula(features):
    head = set_weights(CosineHead(12, 5, scale=3.0))
    expected = torch.empty(7, 5)
    for row in range(7):
        for label in range(5):
            x, w = features[row], head.weight[label].detach()
            cosine = float(x @ w) / (float(x.norm()) * float(w.norm()))
            expected[row, label] = math.log1p(math.exp(3.0)) * cosine + float(head.bias[label].detach())
    torch.testing.assert_close(head(features).detach(), expected)


@pytest.mark.parametrize("factor", [1e-3, 0.5, 200.0])
def test_length_of_a_class_vector_or_a_feature_changes_nothing(features, factor):
    head = set_weights(CosineHead(12, 5))
    before = head(features)
    with torch.no_grad():
        head.weight[2] *= factor
    after = head(features * factor)
    torch.testing.assert_close(after, before)


def test_reference_head_normalises_each_dimension_over_the_classes(features):
    head = set_weights(build_head("cosine_reference", 12, 5))
    columns = head.weight / head.weight.norm(dim=0, keepdim=True)
    torch.testing.assert_close(columns.norm(dim=0), torch.ones(12))
    expected = F.softplus(head.scale) * F.normalize(features, dim=1) @ columns.T + head.bias
    torch.testing.assert_close(head(features), expected)
    before = head(features)
    with torch.no_grad():
        head.weight[2] *= 3
    assert not torch.allclose(head(features), before)  # so the norm of a class vector still counts


def test_linear_head_is_an_affine_map(features):
    head = set_weights(build_head("linear", 12, 5))
    assert isinstance(head, LinearHead)
    torch.testing.assert_close(head(features), features @ head.weight.T + head.bias)


@pytest.mark.parametrize("name", ["cosine", "cosine_reference"])
def test_scale_bias_and_weight_all_learn(features, name):
    head = build_head(name, 12, 5)
    F.cross_entropy(head(features), torch.arange(7) % 5).backward()
    assert {key for key, value in head.named_parameters() if value.grad.abs().max() > 0} == {"weight", "bias", "scale"}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_cosine_heads_and_only_they_see_directions(name):
    assert isinstance(build_head(name, 4, 3), HEADS[name])
    assert normalises_features(name) == (name != "linear")


def test_scale_is_the_one_asked_for():
    assert build_head("cosine", 4, 3, scale=16.0).scale.item() == 16
