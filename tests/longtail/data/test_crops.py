import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop, functional

from longtail.data.crops import ATTEMPTS, centre_crop, crop_box, draw_crops, random_crop


@pytest.mark.parametrize("shape", [(375, 500), (500, 500), (300, 1000), (40, 32)])
def test_boxes_are_distributed_as_torchvision_s(shape):
    """Two-sample Kolmogorov-Smirnov tests of every coordinate; the seeds are fixed."""
    ours = np.array([crop_box(*shape, draws) for draws in draw_crops(1500, np.random.default_rng(1))])
    picture = torch.empty(1, *shape)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        parameters = [RandomResizedCrop.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(1500)]
    theirs = np.array(parameters)
    for coordinate in range(4):
        assert ks_2samp(ours[:, coordinate], theirs[:, coordinate]).pvalue > 1e-3
    top, left, height, width = ours.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= shape[0]).all() and (left + width <= shape[1]).all()


@pytest.mark.parametrize(
    ("shape", "aspect", "expected"),
    [
        ((10, 1000), 1.0, (0, 493, 10, 13)),
        ((1000, 10), 1.0, (493, 0, 13, 10)),
        ((10, 12), 0.0, (0, 0, 10, 12)),
        ((3, 4), 0.0, (0, 0, 3, 4)),
    ],
)
def test_without_a_fitting_attempt_it_is_the_centre(shape, aspect, expected):
    """Attempts on the whole area with another aspect than the image's never fit."""
    draws = np.tile([1.0, aspect, 0.5, 0.5], (ATTEMPTS, 1))
    assert crop_box(*shape, draws) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_torchvision_s(pixels, channels):
    image = pixels(0, 60, 80, channels)
    for draws in draw_crops(20, np.random.default_rng(2)):
        picture = Image.fromarray(image.squeeze())
        expected = functional.resized_crop(picture, *crop_box(60, 80, draws), [24, 24])
        assert np.array_equal(random_crop(image, draws, 24), np.asarray(expected).reshape(24, 24, channels))


def test_draws_decide_everything():
    first, second = (draw_crops(5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, draw_crops(5, np.random.default_rng(4)))
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 12, 1), (5, 10, 11, 3)])
def test_the_middle_is_torchvision_s(pixels, shape):
    images = pixels(0, *shape)
    expected = functional.center_crop(torch.from_numpy(np.moveaxis(images, -1, -3).copy()), [6, 6])
    found = centre_crop(images, 6)
    assert np.array_equal(np.moveaxis(found, -1, -3), expected.numpy())
    assert np.shares_memory(found, images)
    assert centre_crop(images, 0) is images
