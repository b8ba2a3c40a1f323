"""Random views of whole batches of uint8 images."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

POLICY_GROUP = 4
"""Images that share the draws of a torchvision policy, whose transforms draw once a call; batches are shuffled."""
_IMAGENET_SIDE = 96
"""From this side on AutoAugment's ImageNet policy is used, below it the one for CIFAR."""


def weak(kind: str) -> str:
    """Return the shifts and mirrorings that an augmentation is made of, without its policy."""
    return kind if kind in ("crop", "none") else "crop_flip"


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Return randomly shifted and mirrored images.

    Pads with zeros by an eighth of the side (4 pixels at 32, as for CIFAR in He et al. 2015), crops back to the
    original size at a random place, and mirrors every second image on average.

    Args:
        images: (N, H, W, C) uint8.
        kind: `crop_flip`, `crop` or `none`; of the other augmentations only the shifts and mirrorings are done.
        generator: Draws the places and the mirrorings; on the CPU.
    """
    kind = weak(kind)
    if kind == "none":
        return images
    count, height, width, _ = images.shape
    pad = _padding(height)
    offsets = _draw_offsets(count, pad, generator)
    rows = torch.arange(height) + offsets[0]  # (N, H)
    columns = torch.arange(width) + offsets[1]  # (N, W)
    if kind == "crop_flip":
        mirrored = _draw_mirrors(count, generator).view(count, 1)
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))  # (N, H + 2 pad, W + 2 pad, C)
    batch = torch.arange(count).view(-1, 1, 1)
    index = (batch, rows.unsqueeze(2), columns.unsqueeze(1))
    return padded[tuple(part.to(images.device) for part in index)]


def pass_over(count: int, height: int, kind: str, generator: torch.Generator) -> None:
    """Draw what `augment` draws for so many images of a height, and make no image."""
    kind = weak(kind)
    if kind != "none":
        _draw_offsets(count, _padding(height), generator)
    if kind == "crop_flip":
        _draw_mirrors(count, generator)


def pass_over_mirrors(count: int, generator: torch.Generator) -> None:
    """Draw what `mirror` draws for so many images."""
    _draw_mirrors(count, generator)


def _padding(height: int) -> int:
    return max(1, height // 8)


def _draw_offsets(count: int, padding: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)


def _draw_mirrors(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (N, H, W, C) of which every second one on average is mirrored."""
    mirrored = _draw_mirrors(len(images), generator).to(images.device)
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(2), images)


def apply_policy(images: Tensor, kind: str, colour_jitter: float, generator: torch.Generator) -> Tensor:
    """Return images after a torchvision policy and colour jitter, in groups of `POLICY_GROUP` that share their draws.

    Args:
        images: (N, H, W, C) uint8; C is 1 or 3.
        kind: `autoaugment` (arXiv 1805.09501), `randaugment` (arXiv 1909.13719) or `trivialaugment` (arXiv
            2103.10158); any other kind has no policy.
        colour_jitter: Largest relative change of brightness, contrast and saturation.
        generator: On the CPU; the global one is left as it was.
    """
    transforms = _transforms(kind, colour_jitter, images.shape[1])
    if not transforms:
        return images
    planes = images.permute(0, 3, 1, 2)  # (N, C, H, W), a view
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 62, (1,), generator=generator)))
        groups = []
        for group in planes.split(POLICY_GROUP):
            for transform in transforms:
                group = transform(group)
            groups.append(group)
    return torch.cat(groups).permute(0, 2, 3, 1)


def cut_out(images: Tensor, side: int, fill: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with a square at a random place set to a colour; parts of it may lie outside (arXiv 1708.04552).

    Args:
        images: (N, H, W, C) uint8.
        side: Of the square, in pixels; 0 returns the images.
        fill: (C,) uint8, the mean pixel.
        generator: Draws the centres; on the CPU.
    """
    if side == 0:
        return images
    count, height, width, _ = images.shape
    centre = torch.rand(2, count, 1, generator=generator)
    rows = (torch.arange(height) - (centre[0] * height).floor() + side // 2).to(images.device)  # (N, H)
    columns = (torch.arange(width) - (centre[1] * width).floor() + side // 2).to(images.device)  # (N, W)
    inside = ((rows >= 0) & (rows < side)).unsqueeze(2) & ((columns >= 0) & (columns < side)).unsqueeze(1)
    return torch.where(inside.unsqueeze(3), fill, images)


def _transforms(kind: str, colour_jitter: float, side: int) -> list[Callable[[Tensor], Tensor]]:
    if kind not in ("autoaugment", "randaugment", "trivialaugment") and colour_jitter == 0:
        return []
    from torchvision.transforms import v2

    transforms: list[Callable[[Tensor], Tensor]] = []
    if colour_jitter:
        transforms.append(v2.ColorJitter(colour_jitter, colour_jitter, colour_jitter))
    if kind == "autoaugment":
        policy = v2.AutoAugmentPolicy.CIFAR10 if side < _IMAGENET_SIDE else v2.AutoAugmentPolicy.IMAGENET
        transforms.append(v2.AutoAugment(policy))
    elif kind == "randaugment":
        transforms.append(v2.RandAugment())
    elif kind == "trivialaugment":
        transforms.append(v2.TrivialAugmentWide())
    return transforms
