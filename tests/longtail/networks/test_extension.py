import dataclasses

import pytest
import torch

from longtail.errors import InputError
from longtail.networks import build
from longtail.networks.extension import extended, misfit


@pytest.fixture
def make(make_spec):
    """Return a function that gives a network of some classes, with weights of its own."""

    def of(names="abcd", head="cosine", seed=0):
        return build(make_spec(class_names=tuple(names), head=head), seed).eval()

    return of


@pytest.fixture
def sample():
    """Features around a direction of each class, 12 images of each of six classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(6).repeat_interleave(12)

    def features(size):
        centres = 5 * torch.rand(6, size, generator=generator)
        return centres[labels] + 0.3 * torch.rand(72, size, generator=generator), labels

    return features


def never():
    raise AssertionError("no class is new")


def asked(champion, names):
    return dataclasses.replace(champion.spec, class_names=tuple(names), mean=(0.9,), std=(0.9,))


@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_old_logits_are_the_champions_in_any_order(make, sample, head):
    champion = make("abcd", head)
    features, labels = sample(champion.backbone.feature_size)
    result = extended(champion, asked(champion, "dxabyc"), lambda: (features, labels)).eval()
    images = torch.randint(0, 255, (5, 8, 8, 1), dtype=torch.uint8)
    expected, found = (network(network.preprocess(images)) for network in (champion, result))
    assert torch.allclose(found[:, [2, 3, 5, 0]], expected, atol=1e-6)
    assert torch.equal(result.head.weight[[2, 3, 5, 0]], champion.head.weight)
    assert (result.spec.mean, result.spec.std) == (champion.spec.mean, champion.spec.std)
    assert result.spec.class_names == tuple("dxabyc")
    assert result.head.weight.requires_grad


@pytest.mark.parametrize("head", ["cosine", "linear", "cosine_reference"])
def test_the_same_classes_are_a_copy(make, same_weights, head):
    champion = make("abcd", head)
    result = extended(champion, asked(champion, "abcd"), never)
    assert same_weights(result, champion)
    assert result is not champion


def test_a_vanished_class_is_dropped(make):
    champion = make("abcd")
    result = extended(champion, asked(champion, "db"), never)
    assert torch.equal(result.head.weight, champion.head.weight[[3, 1]])
    assert torch.equal(result.head.scale, champion.head.scale)


def test_a_new_row_of_a_cosine_head_is_the_mean_direction(make, sample):
    champion = make("abcd")
    features, labels = sample(champion.backbone.feature_size)
    row = extended(champion, asked(champion, "abcdxy"), lambda: (features, labels)).head.weight[4].detach()
    directions = torch.nn.functional.normalize(features[labels == 4], dim=1)
    assert torch.cosine_similarity(row, directions.mean(dim=0), dim=0) == pytest.approx(1, abs=1e-5)
    assert row.norm() == pytest.approx(float(champion.head.weight.detach().norm(dim=1).mean()), rel=1e-5)


def test_a_new_row_of_a_linear_head_has_the_scale_of_the_old_ones(make, sample):
    champion = make("abcd", "linear")
    features, labels = sample(champion.backbone.feature_size)
    with torch.no_grad():  # a trained head: each class has its own logit around 6 and the others' around -2
        x = torch.cat((features[labels < 4], torch.ones(48, 1)), dim=1)
        targets = torch.nn.functional.one_hot(labels[labels < 4], 4) * 8.0 - 2
        solution = torch.linalg.lstsq(x, targets, driver="gelsd").solution
        champion.head.weight.copy_(solution[:-1].T)
        champion.head.bias.copy_(solution[-1])
    logits = extended(champion, asked(champion, "abcdxy"), lambda: (features, labels)).head(features).detach()
    assert logits[labels == 4, 4].mean() == pytest.approx(6, abs=0.5)
    assert logits[labels < 4, 4].mean() == pytest.approx(-2, abs=0.5)
    assert (logits[labels < 5, :5].argmax(dim=1) == labels[labels < 5]).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "lenet"}, "lenet with a cosine head is asked for"),
        ({"head": "linear"}, "linear head is asked for"),
        ({"channels": 3}, "reads images of 1 channel"),
        ({"class_names": "xyz"}, "none of these classes"),
    ],
)
def test_what_does_not_fit_is_said(make, changes, reason):
    fitting = {"network": "small_cnn", "head": "cosine", "class_names": "abx", "channels": 1}
    champion = make()
    assert misfit(champion, **fitting) == ""
    assert reason in misfit(champion, **(fitting | changes))


def test_transformed_features_and_tied_rows_do_not_fit(make):
    champion = make("abcd", "cosine_reference")
    with pytest.raises(InputError, match="ties the rows"):
        extended(champion, asked(champion, "abcx"), never)
    champion = make()
    champion.tukey = 0.5
    with pytest.raises(InputError, match=r"power of 0\.5"):
        extended(champion, asked(champion, "abcd"), never)
