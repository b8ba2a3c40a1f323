"""Backbones by name: the built-in ones, and the classifiers of torchvision and timm without their last layer."""

import importlib
from collections.abc import Callable

from torch import nn

from longtail.errors import InputError
from longtail.networks.identity import IDENTITY, Identity
from longtail.networks.library import COLOURS, LibraryModel, unknown
from longtail.networks.resnet_cifar import resnet32, resnet32_128
from longtail.networks.small import LeNet, SmallCNN

BACKBONES: dict[str, Callable[[int], nn.Module]] = {
    "small_cnn": SmallCNN,
    "lenet": LeNet,
    "resnet32": resnet32,
    "resnet32_128": resnet32_128,
    IDENTITY: Identity,
}
"""Built-in backbones by name; each is made for a number of image channels and says its `feature_size`."""
ALIASES = {"resnext50": "torchvision:resnext50_32x4d"}
"""The paper's network for mini-ImageNet is torchvision's, down to its initialisation: convolutions normal with standard
deviation sqrt(2 / (k² · C_out))."""


def library_model(network: str) -> LibraryModel | None:
    """Return the classifier that the name of a network stands for; None for a built-in network.

    Raises:
        InputError: If the library has no such classifier, or is not installed.
    """
    library, _, name = ALIASES.get(network, network).partition(":")
    # Imported late: these modules import their library.
    if library == "torchvision":
        return importlib.import_module("longtail.networks.torchvision_models").TorchvisionModel(name)  # type: ignore[no-any-return]
    if library == "timm":
        return importlib.import_module("longtail.networks.timm_models").TimmModel(name)  # type: ignore[no-any-return]
    return None


def build_backbone(network: str, channels: int) -> nn.Module:
    """Return a new backbone that reads images of so many channels.

    Raises:
        InputError: If there is no such network, or it does not read so many channels.
    """
    model = library_model(network)
    if model is not None:
        if channels != COLOURS:
            raise InputError(f"{network} reads images of {COLOURS} channels, not of {channels}: repeat the grey one")
        return model.build()
    if network not in BACKBONES:
        raise unknown(network, [*BACKBONES, *ALIASES])
    return BACKBONES[network](channels)
