from pathlib import Path

import numpy as np
import torch

from longtail.data.dataset import Dataset
from longtail.features import Features
from longtail.networks import load


def test_clean_features_are_the_networks_own(chain):
    features = Features.open(Path(chain["feature_extraction"]["features"].path))
    dataset = Dataset.open(Path(chain["data_imbalancing"]["dataset"].path))
    classifier, _ = load(Path(chain["backbone_training"]["backbone"].path))
    for name in ("train", "test"):
        split = dataset.split(name)
        with torch.no_grad():
            expected = classifier.features(classifier.preprocess(torch.from_numpy(split.images(slice(None)))))
        np.testing.assert_allclose(features.split(name), expected.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(features.labels(name), split.labels)


def test_augmented_views_differ_from_the_clean_one(chain):
    artifact = chain["feature_extraction"]["features"]
    features = Features.open(Path(artifact.path))
    assert features.views == artifact.metadata["views"] == 1
    assert features.train(1).shape == features.train(0).shape
    assert not np.array_equal(features.train(1), features.train(0))


def test_another_seed_gives_other_views_of_the_same_clean_features(call, inputs, chain, tmp_path):
    first = Features.open(Path(chain["feature_extraction"]["features"].path))
    made = call("feature_extraction", tmp_path, inputs("feature_extraction"), seed=4)
    second = Features.open(Path(made["features"].path))
    np.testing.assert_array_equal(first.train(0), second.train(0))
    assert not np.array_equal(first.train(1), second.train(1))
