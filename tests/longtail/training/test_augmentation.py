import numpy as np
import pytest
import torch

from longtail.training.augmentation import augment

SHAPES = [(9, 8, 8, 1), (9, 32, 32, 3), (9, 12, 20, 3), (9, 4, 4, 1)]


def images(shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def one_by_one(batch, kind, generator):
    """Crop and mirror image by image, with the draws of the fast version."""
    count, height, width, _ = batch.shape
    pad = max(1, height // 8)
    tops, lefts = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    mirror = torch.rand(count, 1, generator=generator) < 0.5 if kind == "crop_flip" else torch.zeros(count, 1)
    result = []
    for image, top, left, mirrored in zip(batch.numpy(), tops[:, 0], lefts[:, 0], mirror[:, 0], strict=True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        crop = padded[top : top + height, left : left + width]
        result.append(crop[:, ::-1] if mirrored else crop)
    return torch.from_numpy(np.stack(result))


@pytest.mark.parametrize("kind", ["crop", "crop_flip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_cropping_image_by_image(shape, kind):
    batch = images(shape)
    fast = augment(batch, kind, torch.Generator().manual_seed(3))
    assert (fast.dtype, fast.shape) == (torch.uint8, batch.shape)
    assert torch.equal(fast, one_by_one(batch, kind, torch.Generator().manual_seed(3)))


def test_none_returns_its_input():
    batch = images(SHAPES[0])
    assert augment(batch, "none", torch.Generator()) is batch


@pytest.mark.parametrize("kind", ["crop", "crop_flip"])
def test_generator_decides_and_input_stays(kind):
    batch = images(SHAPES[1])
    before = batch.clone()
    one, again, other = (augment(batch, kind, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(batch, before)


def test_every_place_and_both_sides_come_equally_often():
    count, side, pad = 20_000, 16, 2
    picture = torch.arange(1, side * side + 1).remainder(251).add(1).to(torch.uint8).view(1, side, side, 1)
    batch = picture.expand(count, -1, -1, -1)
    out = augment(batch, "crop_flip", torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(picture[0, :, :, 0], (pad, pad, pad, pad))
    seen = 0
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[top : top + side, left : left + side]
            for expected in (crop, crop.flip(1)):
                hits = int((out[..., 0] == expected).all(dim=(1, 2)).sum())
                assert hits == pytest.approx(count / 50, abs=5 * (count / 50) ** 0.5)
                seen += hits
    assert seen == count
