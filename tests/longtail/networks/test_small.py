import pytest
import torch

from longtail.networks.small import LeNet, SmallCNN


@pytest.mark.parametrize("network", [SmallCNN, LeNet])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 13, 20)])
def test_features_are_non_negative_and_of_the_stated_size(network, shape):
    module = network(shape[0])
    features = module(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, module.feature_size)
    assert features.min() >= 0


def test_lenet_has_the_parameters_of_lenet5_up_to_84_features():
    convolutions = (1 * 6 * 25 + 6) + (6 * 16 * 25 + 16)
    linear = (400 * 120 + 120) + (120 * 84 + 84)
    assert sum(value.numel() for value in LeNet(1).parameters()) == convolutions + linear


def test_lenet_puts_a_small_image_into_the_middle_of_32x32():
    module = LeNet(1)
    small = torch.randn(2, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    large = torch.zeros(2, 1, 32, 32)
    large[:, :, 11:20, 12:20] = small
    assert torch.equal(module(small), module(large))


def test_small_cnn_has_three_convolutions_without_bias():
    assert sum(value.numel() for value in SmallCNN(1).parameters()) == 9 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64)
