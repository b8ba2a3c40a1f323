import copy

import numpy as np
import pytest
import torch

from longtail.config import FeaturesConfig
from longtail.errors import InputError
from longtail.features import Features, extract
from longtail.networks import build
from longtail.retraining.images import BatchNormalised, FreshFeatures, TrainingImages
from longtail.training.batches import Images


@pytest.fixture
def classifier(make_spec):
    return build(make_spec(), seed=1).eval()


@pytest.fixture
def source(dataset):
    return TrainingImages(dataset.split("train"), "crop_flip")


@pytest.fixture(scope="module")
def features(dataset, make_spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "features"
    extract(build(make_spec(), seed=1), dataset, FeaturesConfig(views=1), "crop_flip", path, seed=1)
    return Features.open(path)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def backbone(classifier, source, rows, draws):
    images = Images(source.split, torch.device("cpu")).views(rows, source.augmentation, draws)
    with torch.no_grad():
        return classifier.features(classifier.preprocess(images))


def test_images_of_other_features_are_refused(source, features, dataset):
    source.check(features)
    with pytest.raises(InputError, match="are not those of the 500 training images that were given"):
        TrainingImages(dataset.split("test"), "none").check(features)


def test_fresh_features_are_the_backbone_on_images_augmented_now(classifier, source, features, tmp_path, same_weights):
    before, fresh = copy.deepcopy(classifier), FreshFeatures(classifier, source, features, tmp_path / "fresh")
    one = fresh.draw(1000, generator(3))
    first = one.train()
    np.testing.assert_allclose(
        first, backbone(classifier, source, torch.arange(len(first)), generator(3)), rtol=1e-5, atol=1e-6
    )
    other = fresh.draw(64, generator(4))
    assert not np.allclose(other.train(), first)  # what was mapped before is still there
    np.testing.assert_array_equal(other.labels("train"), features.labels("train"))
    assert (other.views, other.class_names, other.digest) == (0, features.class_names, features.digest)
    np.testing.assert_array_equal(fresh.draw(1000, generator(3)).train(), first)
    assert same_weights(classifier, before)


def test_without_augmentation_fresh_features_are_the_clean_ones(classifier, dataset, features, tmp_path):
    source = TrainingImages(dataset.split("train"), "none")
    found = FreshFeatures(classifier, source, features, tmp_path).draw(256, generator()).train()
    np.testing.assert_array_equal(found, features.train(0))


def test_batches_are_normalised_by_themselves(classifier, source):
    rows = torch.tensor([5, 300, 7, 7, 80, 120])
    expected = backbone(copy.deepcopy(classifier).train(), source, rows, generator(2))
    x, y = BatchNormalised(classifier, source, generator(2)).batch(rows)
    torch.testing.assert_close(x, expected)
    assert not x.requires_grad
    np.testing.assert_array_equal(y, source.split.labels[rows])


def test_averages_drift_to_those_of_the_batches_and_weights_stay(classifier, source):
    """With momentum 0.1 the running mean after two batches is 0.9² m₀ + 0.9 · 0.1 m₁ + 0.1 m₂."""
    before, draws = copy.deepcopy(classifier.backbone), generator(2)
    batches, parts = BatchNormalised(classifier, source, generator(2)), [torch.arange(40), torch.arange(100, 164)]
    means = []
    for rows in parts:
        batches.batch(rows)
        images = Images(source.split, torch.device("cpu")).views(rows, source.augmentation, draws)
        with torch.no_grad():
            means.append(before.conv1(classifier.preprocess(images)).mean(dim=(0, 2, 3)))
    expected = 0.9 * 0.1 * means[0] + 0.1 * means[1]  # the averages start from zero
    torch.testing.assert_close(classifier.backbone.bn1.running_mean, expected, rtol=1e-4, atol=1e-5)
    for name, weight in classifier.backbone.named_parameters():
        assert torch.equal(weight, before.get_parameter(name))
