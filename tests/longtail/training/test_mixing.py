import numpy as np
import pytest
import torch

from longtail.training.mixing import mix


def images(count=6, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_none_leaves_images_alone():
    batch = images()
    mixed, partners, share = mix(batch, "none", 1.0, generator(0))
    assert mixed is batch
    assert (partners.tolist(), share) == (list(range(6)), 1.0)


def test_mixup_is_the_blend_it_says():
    batch = images()
    mixed, partners, share = mix(batch, "mixup", 1.0, generator(0))
    assert sorted(partners.tolist()) == list(range(6))
    torch.testing.assert_close(mixed, share * batch + (1 - share) * batch[partners])


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_takes_each_pixel_from_one_of_two_and_counts_them(seed):
    batch = images()
    mixed, partners, share = mix(batch, "cutmix", 1.0, generator(seed))
    own = (mixed == batch).all(dim=1)
    assert (own | (mixed == batch[partners]).all(dim=1)).all()
    moved = partners != torch.arange(6)
    assert own[moved].float().mean().item() == pytest.approx(share, abs=1e-6)
    assert torch.equal(batch, images())


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_generator_decides(kind):
    one, again, other = (mix(images(), kind, 1.0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 10.0])
def test_shares_follow_the_beta_distribution(alpha):
    shares = [mix(images(2, 2), "mixup", alpha, generator(seed))[2] for seed in range(2000)]
    deviation = (1 / (4 * (2 * alpha + 1))) ** 0.5
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * deviation / 2000**0.5)
    assert np.std(shares) == pytest.approx(deviation, rel=0.1)
