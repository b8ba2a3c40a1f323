import numpy as np
import pytest
import torch

from longtail.artifacts import artifact_digest
from longtail.features import Features
from longtail.networks import load, save


def extracted(call, artifacts, folder, config=None, **parameters):
    return Features.open(call("feature_extraction", folder, artifacts, config, **parameters).outputs["features"])


def test_clean_features_are_the_frozen_networks(chain, dataset):
    done = chain["feature_extraction"]
    features, (classifier, _) = (
        Features.open(done.outputs["features"]),
        load(chain["backbone_training"].outputs["backbone"]),
    )
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        with torch.no_grad():
            expected = classifier.features(classifier.preprocess(torch.from_numpy(split.images(slice(None)))))
        np.testing.assert_allclose(features.split(name), expected.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(features.labels(name), split.labels)
    assert done.described == {"features": {"views": 1}}
    assert features.views == 1


def test_the_seed_draws_the_views_and_nothing_else(call, artifacts, tmp_path):
    one, same, other = (extracted(call, artifacts, tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert one.digest == same.digest != other.digest
    np.testing.assert_array_equal(one.train(0), other.train(0))
    assert not np.array_equal(one.train(1), other.train(1))


@pytest.mark.parametrize(("augmentation", "equal"), [("none", True), ("crop", False)])
def test_views_are_augmented_as_in_training(call, artifacts, tmp_path, augmentation, equal):
    classifier, manifest = load(artifacts["backbone"])
    save(classifier, tmp_path / "backbone", {"augmentation": augmentation})
    features = extracted(call, artifacts | {"backbone": tmp_path / "backbone"}, tmp_path / "out", seed=4)
    assert np.array_equal(features.train(0), features.train(1)) == equal
    assert manifest["augmentation"] == "crop"


def test_without_views_there_is_the_clean_one(call, artifacts, tmp_path):
    features = extracted(call, artifacts, tmp_path, {"views": 0})
    assert [path.name for path in (features.path / "train").glob("view-*")] == ["view-0.npy"]


def test_the_backbone_stays_as_it_is(call, artifacts, tmp_path):
    before = artifact_digest(artifacts["backbone"])
    extracted(call, artifacts, tmp_path)
    assert artifact_digest(artifacts["backbone"]) == before
    load(artifacts["backbone"])  # checks every file
