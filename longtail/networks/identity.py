"""The network of features that were computed elsewhere: a head with nothing but their scaling before it."""

import torch
from torch import Tensor, nn

IDENTITY = "identity"
"""Name in the registry of backbones; a row counts as an image of one pixel with D channels."""


class Identity(nn.Module):
    """Features as they come, less their mean and divided by their deviation if the table was scaled so.

    Args:
        size: Features of a row, D.
    """

    shift: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.feature_size = size
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, D) of rows (N, D), or of images (N, D, H, W) as their means."""
        rows = x.mean(dim=(2, 3)) if x.ndim == 4 else x
        return (rows - self.shift) / self.deviation
