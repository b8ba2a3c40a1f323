"""Eight digits are trained, two appear: the network goes on, keeps the old and learns the new."""

import dataclasses

import numpy as np
import pytest
import torch

from longtail.config import BackboneConfig, DataConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.errors import InputError
from longtail.networks import NetworkSpec, build, save
from longtail.steps import champion_weights
from longtail.steps.champion_weights import going_on
from longtail.training import train

RECIPE = BackboneConfig(
    network="small_cnn", head="cosine", epochs=4, minimum_steps=250, learning_rate=0.1, augmentation="none"
)


class Digits:
    """Some classes of a data set's split, in memory."""

    def __init__(self, split, classes):
        rows = np.flatnonzero(np.isin(split.labels, classes))
        self.labels = np.searchsorted(classes, split.labels[rows])
        self.packed = split.images(rows)
        self.image_shape, self.crop_size = split.image_shape, 0

    def __len__(self):
        return len(self.labels)

    def images(self, places):
        return self.packed[places]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Return a function that gives training and test images of some classes."""
    path = tmp_path_factory.mktemp("digits") / "dataset"
    build_dataset(DataConfig(source="digits", imbalance_factor=4), path)
    dataset = Dataset.open(path)
    return lambda classes: [Digits(dataset.split(name), np.array(classes)) for name in ("train", "test")]


def spec(names, head):
    return NetworkSpec("small_cnn", head, (8, 8, 1), tuple(map(str, names)), (0.3,), (0.37,))


def accuracy(network, split):
    with torch.no_grad():
        logits = network.eval()(network.preprocess(torch.from_numpy(split.packed)))
    hits = logits.argmax(dim=1).numpy() == split.labels
    return np.array([hits[split.labels == label].mean() for label in range(logits.shape[1])])


@pytest.fixture(scope="module", params=["cosine", "linear"])
def champion(request, splits, tmp_path_factory):
    """A model's folder with a network trained on the digits 1 to 8, and the network."""
    training, _ = splits(range(1, 9))
    network = build(spec(range(1, 9), request.param), seed=0)
    train(network, training, None, dataclasses.replace(RECIPE, head=request.param), seed=0)
    folder = tmp_path_factory.mktemp("model")
    save(network, folder / champion_weights.NETWORK, {})
    return folder, network.eval()


@pytest.fixture
def start(champion, monkeypatch):
    """Return a function that starts from the champion with the classes and training images given."""
    monkeypatch.setattr(champion_weights, "download", lambda uri: champion[0])
    head = champion[1].spec.head
    return lambda names, training: going_on(spec(names, head), "models:/digits/1", training)


def test_before_training_the_old_classes_are_as_they_were_and_the_new_ones_a_good_guess(start, champion, splits):
    training, test = splits(range(10))
    network = start(range(10), training)
    images = torch.from_numpy(test.packed)
    with torch.no_grad():
        expected = champion[1](champion[1].preprocess(images))
        found = network.eval()(network.preprocess(images))
    assert torch.allclose(found[:, 1:9], expected, atol=1e-5)
    assert accuracy(network, test)[[0, 9]].mean() > 0.4


def test_a_short_training_keeps_the_old_classes_and_learns_the_new(start, champion, splits):
    before = accuracy(champion[1], splits(range(1, 9))[1])
    training, test = splits(range(10))
    network = start(range(10), training)
    short = dataclasses.replace(RECIPE, head=network.spec.head, minimum_steps=60, epochs=1, learning_rate=0.05)
    train(network, training, None, short, seed=1)
    after = accuracy(network, test)
    assert after[1:9].mean() > before.mean() - 0.05
    assert after[[0, 9]].mean() > 0.75


def test_other_weights_are_left_to_others():
    assert going_on(spec("ab", "cosine"), "", None) is None
    assert going_on(spec("ab", "cosine"), "published", None) is None


@pytest.mark.parametrize("weights", ["models:/digits@champion", "models:/digits", "models:/digits/latest"])
def test_a_name_that_may_mean_another_model_tomorrow_is_refused(weights):
    with pytest.raises(InputError, match="name a version"):
        going_on(spec("ab", "cosine"), weights, None)


def test_another_architecture_is_refused(champion, monkeypatch, splits):
    monkeypatch.setattr(champion_weights, "download", lambda uri: champion[0])
    asked = dataclasses.replace(spec(range(10), "cosine"), network="lenet")
    with pytest.raises(InputError, match="lenet"):
        going_on(asked, "models:/digits/1", splits(range(10))[0])
