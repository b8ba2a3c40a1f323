import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from longtail.data.images import decode, fit
from longtail.errors import InputError


def test_grey_has_one_channel_and_everything_else_three(encode, pixels):
    grey, colour = pixels(0, 5, 6), pixels(1, 5, 6, 3)
    assert np.array_equal(decode(encode(grey)), grey[:, :, None])
    assert np.array_equal(decode(encode(colour)), colour)
    assert decode(encode(colour, mode="P")).shape == (5, 6, 3)
    assert decode(encode(colour, "JPEG")).shape == (5, 6, 3)
    assert decode(encode(colour, "JPEG", mode="CMYK")).shape == (5, 6, 3)
    assert np.array_equal(decode(encode(grey, mode="LA")), grey[:, :, None])
    assert decode(encode(grey > 100)).max() == 255


def test_alpha_is_dropped(encode, pixels):
    rgba = pixels(2, 4, 4, 4)
    assert np.array_equal(decode(encode(rgba)), rgba[:, :, :3])


def test_sixteen_bit_grey_keeps_the_upper_byte(encode):
    values = np.array([[0, 255], [256, 65535]], dtype=np.uint16)
    assert decode(encode(values))[:, :, 0].tolist() == [[0, 0], [1, 255]]


@pytest.mark.parametrize("cut", [0, 3, 20, 60, -40])
def test_truncated_bytes(encode, pixels, cut):
    with pytest.raises(InputError, match="not a readable image"):
        decode(encode(pixels(0, 16, 16, 3))[:cut])


def test_bytes_of_something_else():
    with pytest.raises(InputError, match=r"not a readable image \(UnidentifiedImageError\)"):
        decode(b"<html>not found</html>")


@pytest.mark.parametrize("shape", [(40, 80, 3), (90, 30, 3), (64, 64, 3), (10, 14, 3), (40, 60, 1)])
def test_fit_agrees_with_torchvision_in_the_middle(shape):
    smooth = (np.indices(shape[:2]).sum(0) * 255 // (sum(shape) - 2)).astype(np.uint8)
    image = np.repeat(smooth[:, :, None], shape[2], axis=2)
    picture = Image.fromarray(image.squeeze())
    expected = np.asarray(functional.center_crop(functional.resize(picture, 20), [20, 20])).reshape(20, 20, -1)
    ours = fit(image, 20)
    assert ours.shape == (20, 20, shape[2])
    assert np.abs(ours.astype(int) - expected)[1:-1, 1:-1].max() <= 6


def test_fit_keeps_an_image_of_the_right_size(pixels):
    image = pixels(0, 8, 8, 3)
    assert fit(image, 8) is image
    assert fit(image, 0) is image
    assert fit(pixels(0, 2, 20_000, 3), 32).shape == (32, 32, 3)
