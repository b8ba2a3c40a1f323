import dataclasses

import pytest
import torch

from longtail.config import BackboneConfig
from longtail.networks import build
from longtail.training.optimisation import make_optimizer, set_mode, set_rates

RECIPE = BackboneConfig(schedule="cosine", learning_rate=0.2)


@pytest.fixture
def classifier(make_spec):
    return build(make_spec(network="small_cnn", head="cosine"), seed=0)


def by_name(classifier, optimizer):
    """The group of each trained parameter."""
    names = {id(parameter): name for name, parameter in classifier.named_parameters()}
    return {names[id(parameter)]: group for group in optimizer.param_groups for parameter in group["params"]}


def test_all_parameters_are_trained_and_decayed_by_default(classifier):
    groups = by_name(classifier, make_optimizer(classifier, RECIPE))
    assert set(groups) == {name for name, _ in classifier.named_parameters()}
    assert {group["weight_decay"] for group in groups.values()} == {5e-4}


def test_decay_of_weights_alone_spares_biases_norms_and_scale(classifier):
    groups = by_name(classifier, make_optimizer(classifier, dataclasses.replace(RECIPE, weight_decay_on="weights")))
    spared = {name for name, group in groups.items() if group["weight_decay"] == 0}
    assert {"backbone.bn1.weight", "backbone.bn1.bias", "head.bias", "head.scale"} <= spared
    assert {name for name in groups if name not in spared} == {
        *(f"backbone.conv{number}.weight" for number in (1, 2, 3)),
        "head.weight",
    }


def test_constant_head_keeps_its_rate_while_the_backbone_s_falls(classifier):
    config = dataclasses.replace(RECIPE, head_schedule="constant")
    optimizer = make_optimizer(classifier, config)
    assert set_rates(optimizer, config, 0.5, 0.6) == pytest.approx(0.1)
    groups = by_name(classifier, optimizer)
    assert groups["head.weight"]["lr"] == 0.2
    assert groups["backbone.conv1.weight"]["lr"] == pytest.approx(0.1)


def test_schedule_by_epochs_is_the_one_of_the_authors_code(classifier):
    """Epoch e of 150, from 1, has rate 0.1 (1 + cos(pi e / 150)): the scheduler steps before the epoch."""
    config = dataclasses.replace(RECIPE, schedule="cosine_epochs")
    optimizer = make_optimizer(classifier, config)
    for epoch in (1, 75, 150):
        expected = 0.1 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 150)).item())
        assert set_rates(optimizer, config, (epoch - 0.5) / 150, epoch / 150) == pytest.approx(expected, abs=1e-7)


def test_frozen_backbone_is_neither_trained_nor_moved(classifier):
    config = dataclasses.replace(RECIPE, trainable="head")
    groups = by_name(classifier, make_optimizer(classifier, config))
    assert set(groups) == {"head.weight", "head.bias", "head.scale"}
    before = {name: value.clone() for name, value in classifier.backbone.state_dict().items()}
    set_mode(classifier, config)
    classifier(torch.rand(4, 1, 8, 8))
    assert classifier.head.training
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(value, before[name])
