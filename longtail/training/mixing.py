"""Two images in one: mixup and CutMix."""

import numpy as np
import torch
from torch import Tensor


def mix(images: Tensor, kind: str, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Return mixed images, the row each was mixed with, and the first image's share.

    One share is drawn for the batch from Beta(alpha, alpha). `mixup` blends whole images (Zhang et al. 2018, arXiv
    1710.09412); `cutmix` pastes a box of the partner into the image, its area the partner's share, which is counted
    again after the box is cut at the border (Yun et al. 2019, arXiv 1905.04899).

    Args:
        images: (N, C, H, W) float.
        kind: `mixup`, `cutmix`, or `none`, which returns the images as they are with share 1.
        alpha: Of the Beta distribution.
        generator: On the CPU.

    Returns:
        Images (N, C, H, W), partners (N,) int64 on the CPU, and the share in [0, 1].
    """
    partners = torch.arange(len(images))
    if kind == "none":
        return images, partners, 1.0
    partners = torch.randperm(len(images), generator=generator)
    beta = np.random.default_rng(int(torch.randint(1 << 62, (1,), generator=generator)))
    share = float(beta.beta(alpha, alpha))
    others = images[partners.to(images.device)]
    if kind == "mixup":
        return torch.lerp(others, images, share), partners, share
    height, width = images.shape[2:]
    centre = torch.rand(2, generator=generator).tolist()
    half = (1 - share) ** 0.5 / 2
    top, bottom = (round(height * min(max(centre[0] + side * half, 0), 1)) for side in (-1, 1))
    left, right = (round(width * min(max(centre[1] + side * half, 0), 1)) for side in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, partners, 1 - (bottom - top) * (right - left) / (height * width)
