import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

from longtail.config import BackboneConfig
from longtail.errors import InputError
from longtail.networks.registry import BACKBONES, build_backbone, library_model

CHOICES = next(entry for entry in dataclasses.fields(BackboneConfig) if entry.name == "network").metadata["choices"]


@pytest.mark.parametrize("network", sorted({*BACKBONES, *CHOICES}))
def test_every_network_says_how_many_features_it_has(network):
    with torch.device("meta"):
        backbone = build_backbone(network, 3).eval()
        assert backbone(torch.empty(2, 3, 32, 32)).shape == (2, backbone.feature_size)


def test_resnext50_has_the_papers_size_and_initialisation():
    torch.manual_seed(0)
    backbone = build_backbone("resnext50", 3)
    assert backbone.feature_size == 2048
    assert sum(value.numel() for value in backbone.parameters()) == 22_979_904
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            # the standard error of a deviation is its share 1 / sqrt(2 n)
            tolerance = 5 / (2 * module.weight.numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=tolerance), name
            assert module.bias is None
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


def test_built_in_networks_are_of_no_library():
    assert library_model("resnet32") is None
    assert library_model("resnext50").name == "resnext50_32x4d"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("resnet23", r"'resnet23', which is not known: did you mean one of resnet32"),
        ("zzz", r"'zzz', which is not known: choose from identity, lenet, resnet32"),
        ("tensorhub:resnet32", r"'tensorhub:resnet32', which is not known"),
        ("torchvision:resnet51", r"did you mean one of torchvision:resnet101|torchvision:resnet50"),
        ("torchvision:fasterrcnn_resnet50_fpn", r"not known"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(network, message):
    with pytest.raises(InputError, match=message):
        build_backbone(network, 3)


def test_networks_of_a_library_read_colours_alone():
    with pytest.raises(InputError, match=r"torchvision:resnet18 reads images of 3 channels, not of 1"):
        build_backbone("torchvision:resnet18", 1)


def test_libraries_are_imported_when_asked_for():
    code = (
        "import sys, longtail.networks as networks\n"
        "spec = networks.NetworkSpec('small_cnn', 'cosine', (8, 8, 1), ('a', 'b'), (0.5,), (0.5,))\n"
        "networks.start(spec, '', 0)\n"
        "print(sorted({'torchvision', 'timm'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
