"""Batches of raw images: from memory when they are small, decoded ahead when they are not."""

import numpy as np
import torch
from torch import Tensor

from longtail.data.dataset import Split
from longtail.training.augmentation import augment, mirror, pass_over, pass_over_mirrors, weak


class Images:
    """Raw uint8 images of a split by row.

    Args:
        split: Where the images are; packed ones are read into memory (on the device) once.
        device: Where batches are wanted.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        self.split, self.device = split, device
        self.resident = None if split.packed is None else torch.from_numpy(np.array(split.packed)).to(device)

    def batch(self, rows: Tensor) -> Tensor:
        """Return images (n, H, W, C) uint8 of rows (n,)."""
        if self.resident is not None:
            return self.resident[rows.to(self.device)]
        return torch.from_numpy(self.split.images(rows.numpy())).to(self.device, non_blocking=True)

    def views(self, rows: Tensor, augmentation: str, generator: torch.Generator) -> Tensor:
        """Return randomly cropped and mirrored images (n, H, W, C) uint8 of rows (n,).

        A split with a crop size gives crops of random place, area and aspect; others are shifted.
        """
        kind = weak(augmentation)
        if not self.split.crop_size or kind == "none":
            return augment(self.batch(rows), kind, generator)
        draws = np.random.default_rng(_draw_seed(generator))
        crops = torch.from_numpy(self.split.random_crops(rows.numpy(), draws)).to(self.device, non_blocking=True)
        return mirror(crops, generator) if kind == "crop_flip" else crops

    def pass_over(self, count: int, augmentation: str, generator: torch.Generator) -> None:
        """Draw what `views` draws for so many images, and read none: what comes after is then as if it had."""
        kind = weak(augmentation)
        if not self.split.crop_size or kind == "none":
            pass_over(count, self.split.image_shape[0], kind, generator)
            return
        _draw_seed(generator)
        if kind == "crop_flip":
            pass_over_mirrors(count, generator)


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(1 << 62, (1,), generator=generator))
