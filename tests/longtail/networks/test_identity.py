import numpy as np
import pytest
import torch

from longtail.config import BackboneConfig, parse
from longtail.errors import InputError
from longtail.networks import build
from longtail.networks.identity import IDENTITY, Identity


@pytest.fixture
def rows():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classifier(make_spec):
    spec = make_spec(network=IDENTITY, image_shape=(1, 1, 5), mean=(0.0,) * 5, std=(1.0,) * 5)
    return build(spec, seed=1).eval()


def test_features_stay_as_they_are_bit_by_bit(classifier, rows):
    assert torch.equal(classifier.features(rows), rows)
    assert torch.equal(classifier.features(rows[:, :, None, None]), rows)
    assert classifier.backbone.feature_size == 5
    assert not list(classifier.backbone.parameters())


def test_scaling_is_what_it_is_given(rows):
    backbone = Identity(5)
    shift, deviation = torch.arange(5.0), torch.arange(5.0) + 0.5
    backbone.load_state_dict({"shift": shift, "deviation": deviation})
    np.testing.assert_allclose(backbone(rows), (rows.numpy() - shift.numpy()) / deviation.numpy(), rtol=1e-6)


def test_it_is_no_backbone_of_images():
    with pytest.raises(InputError, match=r"backbone.network is 'identity': choose from"):
        parse(BackboneConfig, {"network": IDENTITY}, "backbone")
