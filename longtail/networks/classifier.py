"""The whole classifier: raw images → normalisation → backbone → head, and its weights on disk."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.artifacts import new_artifact, open_artifact
from longtail.errors import InputError
from longtail.networks.heads import build_head, normalises_features
from longtail.networks.registry import build_backbone

SCHEMA = "longtail.network"
SCHEMA_VERSION = 1
LOG_OFFSET = 1e-6
"""Added before the logarithm that stands for power 0, as in `longtail.calibration.tukey`."""


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a classifier again, before its weights are loaded."""

    network: str
    head: str
    image_shape: tuple[int, int, int]  # (H, W, C)
    class_names: tuple[str, ...]
    mean: tuple[float, ...]  # of pixel values in [0, 1], one a channel that the network reads; grey is repeated
    std: tuple[float, ...]  # likewise
    scale: float = 10.0
    input_size: int = 0  # side in pixels that images are resized to; 0 gives them to the network as they are


class ImageClassifier(nn.Module):
    """A backbone and a head that read raw images.

    Args:
        spec: What to build.

    Attributes:
        tukey: Power that features are raised to before the head (after L2 normalisation for a cosine head);
            1 unless the head was retrained on features that were transformed so. A power that is no whole
            number needs features that are not negative, which networks that end in a ReLU have, but transformers
            have not.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = build_backbone(spec.network, len(spec.mean))
        self.head = build_head(spec.head, int(self.backbone.feature_size), len(spec.class_names), spec.scale)  # type: ignore[arg-type]
        self.tukey = 1.0
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1) * 255)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return normalised float images (N, C, H, W) from raw uint8 ones (N, H, W, C).

        The result is a view in channels-last order: no copy is made but the conversion to float. For a network with
        an input size of its own the whole image is resized to that square, antialiased bilinear.
        """
        x = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        size = (self.spec.input_size, self.spec.input_size)
        if self.spec.input_size and x.shape[2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        return x

    def features(self, x: Tensor) -> Tensor:
        """Return features (N, D) of normalised images (N, C, H, W)."""
        return self.backbone(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of normalised images (N, C, H, W)."""
        return self.classify(self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Return logits (N, classes) of raw features (N, D)."""
        if self.tukey != 1:
            if normalises_features(self.spec.head):
                features = F.normalize(features, dim=1)
            features = (features + LOG_OFFSET).log() if self.tukey == 0 else features**self.tukey
        return self.head(features)  # type: ignore[no-any-return]


def build(spec: NetworkSpec, seed: int) -> ImageClassifier:
    """Return a classifier with weights drawn from `seed` alone; the global generator is left as it was.

    Raises:
        InputError: If the network cannot read images of this shape.
    """
    height, width, _ = spec.image_shape
    if spec.network == "lenet" and max(height, width) > 32:
        raise InputError(
            f"lenet reads images of at most 32x32 pixels, these have {height}x{width}: set data.image_size=32 "
            "or choose another backbone.network"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageClassifier(spec)


def save(
    classifier: ImageClassifier, path: Path, fields: dict[str, Any], write: Callable[[Path], None] | None = None
) -> None:
    """Write a classifier's spec and weights as an artifact.

    Args:
        classifier: What to write.
        path: Where the artifact appears.
        fields: Added to its manifest.
        write: Writes more files into the folder that it is given.
    """
    with new_artifact(
        path, SCHEMA, SCHEMA_VERSION, {"spec": asdict(classifier.spec), "tukey": classifier.tukey, **fields}
    ) as folder:
        state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
        # So that the file alone tells which images the weights are for: `mean` and `std` are among the tensors.
        save_file(state, folder / "weights.safetensors", {"input_size": str(classifier.spec.input_size)})
        if write is not None:
            write(folder)


def load(path: Path) -> tuple[ImageClassifier, dict[str, Any]]:
    """Return the classifier of an artifact, in eval mode, and its manifest.

    Raises:
        InputError: If the artifact is not whole or not a network.
    """
    manifest = open_artifact(path, SCHEMA, SCHEMA_VERSION)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in manifest["spec"].items()
    }
    classifier = build(NetworkSpec(**values), seed=0)
    classifier.load_state_dict(load_file(path / "weights.safetensors"))
    classifier.tukey = float(manifest["tukey"])
    return classifier.eval(), manifest
