"""Classifier heads on a feature vector: linear, cosine, and the reference's cosine."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LinearHead(nn.Linear):
    """Logits = x Wᵀ + b on un-normalised features."""


class CosineHead(nn.Module):
    """Logits = softplus(s) · cos(x, w_c) + b_c (Vigneswaran et al. 2021, arXiv 2111.05956, CosineCE).

    Differs from the authors' code on purpose: there the weight is normalised over the classes for each feature
    dimension, so that a class vector keeps a norm of its own and the bias towards head classes stays. Here
    every class vector has unit norm. `ReferenceCosineHead` copies the authors' code.

    Args:
        in_features: Length D of a feature vector.
        classes: Number of classes C.
        scale: Initial value of the learnable s; softplus(10) is 10.00005.
    """

    weight_axis = 1

    def __init__(self, in_features: int, classes: int, scale: float = 10.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        self.bias = nn.Parameter(torch.empty(classes))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, C) of features (N, D)."""
        weight = F.normalize(self.weight, dim=self.weight_axis)
        cosine = F.linear(F.normalize(features, dim=1), weight)  # (N, C)
        return F.softplus(self.scale) * cosine + self.bias


class ReferenceCosineHead(CosineHead):
    """The cosine head of the authors' released code: W normalised over classes, for parity studies."""

    weight_axis = 0


HEADS: dict[str, type[nn.Module]] = {
    "linear": LinearHead,
    "cosine": CosineHead,
    "cosine_reference": ReferenceCosineHead,
}


def build_head(name: str, in_features: int, classes: int, scale: float = 10.0) -> nn.Module:
    """Return a new head; `scale` is the initial scale of a cosine head and unused by a linear one."""
    return LinearHead(in_features, classes) if name == "linear" else HEADS[name](in_features, classes, scale)


def normalises_features(name: str) -> bool:
    """Return whether a head sees only the direction of a feature vector."""
    return name != "linear"


def logit_scale(head: nn.Module) -> Tensor | float:
    """Return what a head multiplies its cosines by; 1 for a linear head."""
    return F.softplus(head.scale) if isinstance(head, CosineHead) else 1.0
