"""Classifiers of timm, an optional library, without their last layer."""

import importlib
from typing import Any

from torch import Tensor, nn

from longtail.errors import InputError
from longtail.networks.library import OwnInput, unknown


class TimmModel:
    """A classifier of timm.

    Args:
        name: One of `timm.list_models()`, or with a dot and the tag of its weights one of `timm.list_pretrained()`.

    Attributes:
        own_input: Size and normalisation of the published weights' evaluation.

    Raises:
        InputError: If timm is not installed or has no such classifier.
    """

    def __init__(self, name: str) -> None:
        try:
            self.timm: Any = importlib.import_module("timm")
        except ImportError:
            raise InputError(
                f"backbone.network=timm:{name} needs timm, which is not installed: pip install 'longtail[timm]'"
            ) from None
        known = self.timm.list_pretrained() if "." in name else self.timm.list_models()
        if name not in known:
            raise unknown(f"timm:{name}", known)
        self.name = name
        published = self.timm.get_pretrained_cfg(name)
        _, height, width = published.input_size
        if height != width:
            raise InputError(f"timm:{name} reads images of {height}x{width} pixels: choose a network of square ones")
        self.own_input = OwnInput(height, published.fixed_input_size, tuple(published.mean), tuple(published.std))
        classifier = published.classifier or ()
        names = (classifier,) if isinstance(classifier, str) else classifier
        self._left_out = tuple(f"{entry}." for entry in names)

    def build(self) -> nn.Module:
        """Return the backbone with new weights; its layers keep timm's names."""
        model = self.timm.create_model(self.name, pretrained=False, num_classes=0)
        model.feature_size = model.head_hidden_size
        model.left_out = self._left_out
        return model  # type: ignore[no-any-return]

    def published(self) -> dict[str, Tensor]:
        """Return timm's weights of the backbone; they are downloaded once.

        Raises:
            InputError: If there are none, or the download fails.
        """
        try:
            model = self.timm.create_model(self.name, pretrained=True, num_classes=0)
        except (OSError, RuntimeError, ValueError) as error:  # what the hub's client and timm raise
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"timm:{self.name} cannot be given its published weights ({reason}): "
                "set backbone.weights to a local file of them"
            ) from None
        return model.state_dict()  # type: ignore[no-any-return]
