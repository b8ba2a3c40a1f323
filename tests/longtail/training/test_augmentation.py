import numpy as np
import pytest
import torch

from longtail.training.augmentation import apply_policy, augment, cut_out, mirror, weak

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


POLICIES = ["autoaugment", "randaugment", "trivialaugment"]


def test_a_policy_s_weak_part_is_shift_and_mirror():
    assert [weak(kind) for kind in (*POLICIES, "crop_flip", "crop", "none")] == ["crop_flip"] * 4 + ["crop", "none"]
    batch = images(SHAPES[1])
    one, other = (augment(batch, kind, torch.Generator().manual_seed(3)) for kind in ("randaugment", "crop_flip"))
    assert torch.equal(one, other)


@pytest.mark.parametrize("shape", [(9, 32, 32, 3), (9, 8, 8, 1), (5, 128, 96, 3)])
@pytest.mark.parametrize(("kind", "jitter"), [*((kind, 0.0) for kind in POLICIES), ("crop", 0.4)])
def test_policies_change_images_by_the_generator_alone(shape, kind, jitter):
    batch = images(shape)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, again, other = (apply_policy(batch, kind, jitter, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (one.dtype, one.shape) == (torch.uint8, batch.shape)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(batch, images(shape))


def test_no_policy_returns_its_input():
    batch = images(SHAPES[1])
    assert apply_policy(batch, "crop_flip", 0.0, torch.Generator()) is batch
    assert cut_out(batch, 0, torch.zeros(3, dtype=torch.uint8), torch.Generator()) is batch


@pytest.mark.parametrize("side", [1, 5, 16])
def test_cutout_fills_a_square_about_a_random_pixel(side):
    batch, fill = images((4000, 12, 20, 3), seed=1) // 2, torch.tensor([200, 201, 202], dtype=torch.uint8)
    out = cut_out(batch, side, fill, torch.Generator().manual_seed(0))
    filled = (out == fill).all(dim=3)
    assert torch.equal(out[~filled], batch[~filled])
    rows, columns = filled.any(dim=2).sum(1), filled.any(dim=1).sum(1)
    assert torch.equal(filled.sum(dim=(1, 2)), rows * columns)  # a box
    assert (int(rows.max()), int(columns.max())) == (min(side, 12), min(side, 20))
    assert filled.float().mean(0).min() > 0  # every pixel is hit


def test_mirror_turns_half_of_the_images():
    batch = images((2000, 4, 6, 1))
    out = mirror(batch, torch.Generator().manual_seed(0))
    turned = (out == batch.flip(2)).flatten(1).all(1)
    assert torch.equal(out[~turned], batch[~turned])
    assert turned.float().mean().item() == pytest.approx(0.5, abs=0.05)
