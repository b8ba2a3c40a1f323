"""Crops of random place, area and aspect, by torchvision's rule, from numbers that were drawn before."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from longtail.data.tables import Image

Draws = NDArray[np.float64]

AREA = (0.08, 1.0)
"""Smallest and largest share of the image's area."""
ASPECT = (3 / 4, 4 / 3)
"""Smallest and largest width over height."""
ATTEMPTS = 10


def draw_crops(count: int, generator: np.random.Generator) -> Draws:
    """Return what decides `count` crops whatever the images' sizes, shape (count, 10, 4) in [0, 1).

    So the images can be decoded in any order, by any number of threads.
    """
    return generator.random((count, ATTEMPTS, 4))


def crop_box(height: int, width: int, draws: Draws) -> tuple[int, int, int, int]:
    """Return the place of a crop: top, left, height and width in pixels.

    The rule of torchvision's `RandomResizedCrop`, which is the "Inception" crop of Szegedy et al. 2014
    (arXiv 1409.4842): area uniform in `AREA`, aspect log-uniform in `ASPECT`; when none of ten attempts fits into the
    image, its centre with the nearest allowed aspect.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        draws: Shape (10, 4): area, aspect, vertical and horizontal place of each attempt.
    """
    area = (AREA[0] + draws[:, 0] * (AREA[1] - AREA[0])) * height * width
    lowest, highest = np.log(ASPECT)
    aspect = np.exp(lowest + draws[:, 1] * (highest - lowest))
    widths, heights = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    if fits.any():
        first = int(fits.argmax())
        tall, wide = int(heights[first]), int(widths[first])
        top, left = draws[first, 2] * (height - tall + 1), draws[first, 3] * (width - wide + 1)
        return int(top), int(left), tall, wide
    tall = min(height, round(width / ASPECT[0]))
    wide = min(width, round(height * ASPECT[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def random_crop(image: Image, draws: Draws, size: int) -> Image:
    """Return a crop of an image (H, W, C), resized to (size, size, C), antialiased bilinear."""
    top, left, height, width = crop_box(image.shape[0], image.shape[1], draws)
    part = image[top : top + height, left : left + width]
    picture = PillowImage.fromarray(part[:, :, 0] if part.shape[2] == 1 else part)
    return np.asarray(picture.resize((size, size), PillowImage.Resampling.BILINEAR)).reshape(size, size, -1)


def centre_crop(image: Image, size: int) -> Image:
    """Return the middle `size` rows and columns of images (..., H, W, C); a view, and all of it if size is 0."""
    height, width = image.shape[-3:-1]
    if size == 0:
        return image
    top, left = round((height - size) / 2), round((width - size) / 2)
    return image[..., top : top + size, left : left + size, :]
