import pytest
import torch
from torch.nn import functional as F

from longtail.networks.resnet_cifar import BasicBlock, resnet32, resnet32_128


def parameters(module):
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(("network", "expected"), [(resnet32, 463_504), (resnet32_128, 537_488)])
def test_parameter_counts_of_the_published_networks(network, expected):
    assert parameters(network(3)) == expected


def test_two_branches_are_one_more_block_than_the_standard_network():
    assert parameters(resnet32_128(3)) - parameters(resnet32(3)) == parameters(BasicBlock(64, 64))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("network", "size"), [(resnet32, 64), (resnet32_128, 128)])
def test_features_are_averages_of_rectified_values(network, size, channels):
    x = torch.randn(2, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    module = network(channels)
    features = module(x)
    assert features.shape == (2, module.feature_size) == (2, size)
    assert features.min() >= 0
    assert features.max() > 0


def test_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros():
    block = BasicBlock(4, 8, stride=2).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # the residual branch gives zero: what is left is the shortcut
    x = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    out = block(x)
    expected = torch.zeros(3, 8, 3, 3)
    for row in range(3):
        for column in range(3):
            expected[:, 2:6, row, column] = x[:, :, 2 * row, 2 * column].clamp(min=0)
    assert torch.equal(out, expected)


def test_block_of_equal_size_adds_its_input():
    block = BasicBlock(4, 4).eval()
    x = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    inner = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), F.relu(inner + x))


def test_shortcuts_have_no_parameters():
    assert {name.split(".")[0] for name, _ in BasicBlock(16, 32, 2).named_parameters()} == {
        "conv1",
        "bn1",
        "conv2",
        "bn2",
    }


def test_convolutions_start_kaiming_normal():
    torch.manual_seed(0)
    weight = resnet32(3).layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
