"""Random crops and flips of whole batches of uint8 images in one gather."""

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Return randomly shifted and mirrored images.

    Pads with zeros by an eighth of the side (4 pixels at 32, as for CIFAR in He et al. 2015), crops back to the
    original size at a random place, and mirrors every second image on average.

    Args:
        images: (N, H, W, C) uint8.
        kind: `crop_flip`, `crop` or `none`.
        generator: Draws the places and the mirrorings; on the CPU.
    """
    if kind == "none":
        return images
    count, height, width, _ = images.shape
    pad = max(1, height // 8)
    offsets = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    rows = torch.arange(height) + offsets[0]  # (N, H)
    columns = torch.arange(width) + offsets[1]  # (N, W)
    if kind == "crop_flip":
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))  # (N, H + 2 pad, W + 2 pad, C)
    batch = torch.arange(count).view(-1, 1, 1)
    index = (batch, rows.unsqueeze(2), columns.unsqueeze(1))
    return padded[tuple(part.to(images.device) for part in index)]
