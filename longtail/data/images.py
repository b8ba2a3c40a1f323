"""One image: decode it, fit it to a square, give it channels."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from longtail.data.tables import Image
from longtail.errors import InputError


def decode(data: bytes) -> Image:
    """Decode an encoded image; alpha is dropped, palettes become RGB and 16-bit grey keeps its upper byte.

    Returns:
        Image of shape (H, W, 1) for grey or (H, W, 3) for everything else.

    Raises:
        InputError: If the bytes are not a whole image that Pillow can read.
    """
    try:
        with PillowImage.open(BytesIO(data)) as image:
            image.load()
            if image.mode.startswith("I"):
                return _upper_byte(np.asarray(image))[:, :, None]
            if image.mode in ("1", "L", "LA"):
                return np.asarray(image.convert("L"))[:, :, None]
            return np.asarray(image.convert("RGB"))
    # Pillow's plugins raise anything from SyntaxError to struct.error on damaged bytes.
    except Exception as error:
        raise InputError(f"not a readable image ({type(error).__name__})") from None


def fit(image: Image, size: int) -> Image:
    """Resize the shorter side to `size` pixels, antialiased bilinear, and crop the centre square.

    Args:
        image: Shape (H, W, C).
        size: Side of the square in pixels; 0 returns the image unchanged.

    Returns:
        Image of shape (size, size, C).
    """
    height, width, channels = image.shape
    if size == 0 or (height, width) == (size, size):
        return image
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    picture = PillowImage.fromarray(image[:, :, 0] if channels == 1 else image)
    # The box makes Pillow compute only the pixels that the crop keeps, however long the other side is.
    square = picture.resize((size, size), PillowImage.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(square).reshape(size, size, channels)


def grey(image: Image) -> Image:
    """Return the luminance (H, W, 1) of a colour image (H, W, 3), by ITU-R 601."""
    return np.asarray(PillowImage.fromarray(image).convert("L"))[:, :, None]


def _upper_byte(values: NDArray[np.generic]) -> Image:
    return (np.clip(values.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
