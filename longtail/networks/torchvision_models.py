"""Classifiers of torchvision without their last layer."""

from http.client import HTTPException
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from longtail.errors import InputError
from longtail.networks.library import OwnInput, unknown

_OWN_SCALING = ("googlenet", "inception_v3")
"""With published weights torchvision's builders make these turn ImageNet's normalisation into (x - 0.5) / 0.5."""


class TorchvisionModel:
    """A classifier of `torchvision.models`, with its default published weights.

    Args:
        name: One of `torchvision.models.list_models(module=torchvision.models)`.

    Attributes:
        own_input: Size and normalisation of the published weights' evaluation.

    Raises:
        InputError: If there is no such classifier.
    """

    def __init__(self, name: str) -> None:
        known = models.list_models(module=models)
        if name not in known:
            raise unknown(f"torchvision:{name}", known)
        self.name = name
        self.weights = models.get_model_weights(name).DEFAULT
        transforms = self.weights.transforms()
        size = int(transforms.crop_size[0])
        # Transformers, whose positions or windows belong to one size, are the only ones with this minimum.
        fixed = tuple(self.weights.meta["min_size"]) == (size, size)
        mean, std = transforms.mean, transforms.std
        if name in _OWN_SCALING:
            mean = std = (0.5,) * 3
        self.own_input = OwnInput(size, fixed, tuple(mean), tuple(std))

    def build(self) -> nn.Module:
        """Return the backbone with new weights; its layers keep torchvision's names."""
        options: dict[str, Any] = {}
        if self.name in _OWN_SCALING:
            options = {"aux_logits": False, "init_weights": True}
        if self.name.startswith("vit_"):
            options = {"image_size": self.own_input.size}
        model: nn.Module = models.get_model(self.name, weights=None, **options)
        if isinstance(model, models.MNASNet):
            model.__class__ = _MNASNet
        return _without_last_layer(model)

    def published(self) -> dict[str, Tensor]:
        """Return torchvision's default weights of the whole classifier; they are downloaded once.

        Raises:
            InputError: If the download fails.
        """
        try:
            return torch.hub.load_state_dict_from_url(
                self.weights.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, HTTPException) as error:  # RuntimeError is that of a wrong hash
            raise InputError(
                f"{self.weights.url} cannot be downloaded ({error}): set backbone.weights to a local file of it"
            ) from None


class _MNASNet(models.MNASNet):  # type: ignore[misc]
    """Reads weights that carry no version mark of PyTorch's, as those in safetensors; the mark's only use is gone."""

    _load_from_state_dict = nn.Module._load_from_state_dict


def _without_last_layer(model: Any) -> nn.Module:
    """Return the model with an identity instead of its last layer with weights, which tells the classes apart."""
    layers = [entry for entry in model.named_modules() if isinstance(entry[1], (nn.Linear, nn.Conv2d))]
    name, layer = layers[-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    model.feature_size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    model.left_out = (f"{name}.", "aux1.", "aux2.", "AuxLogits.")
    return model  # type: ignore[no-any-return]
