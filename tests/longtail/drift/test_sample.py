import dataclasses

import numpy as np
import pytest

from longtail.data.dataset import Dataset, build_dataset
from longtail.drift.reference import read_reference
from longtail.drift.sample import Chosen, features
from longtail.errors import InputError


def test_the_images_are_those_that_data_imbalancing_would_choose(data, tmp_path):
    config = dataclasses.replace(data, profile="exponential", imbalance_factor=4, seed=3)
    build_dataset(config, tmp_path / "dataset")
    dataset, chosen = Dataset.open(tmp_path / "dataset"), Chosen.of(config)
    assert chosen.counts == dict(zip(dataset.class_names, dataset.train_counts, strict=True))
    train = dataset.split("train")
    rows = chosen.rows("c", 99, np.random.default_rng(0))
    assert rows.tolist() == train.ids[train.labels == 2].tolist()
    found = np.stack(list(chosen.images(rows)))
    assert np.array_equal(found, train.images(np.flatnonzero(train.labels == 2)))


def test_a_sample_is_bounded_seeded_and_without_repetition(data):
    chosen = Chosen.of(data)
    rows = chosen.rows("b", 20, np.random.default_rng(1))
    assert len(set(rows.tolist())) == 20
    assert np.array_equal(rows, chosen.rows("b", 20, np.random.default_rng(1)))
    assert not np.array_equal(rows, chosen.rows("b", 20, np.random.default_rng(2)))


def test_features_do_not_depend_on_the_blocks(model, monkeypatch):
    network = read_reference(model).network
    images = np.random.default_rng(0).integers(0, 255, (9, 8, 8, 1), dtype=np.uint8)
    whole = features(network, iter(images))
    monkeypatch.setattr("longtail.drift.sample._BATCH", 2)
    assert np.allclose(features(network, iter(images)), whole, atol=1e-5)
    grey_in_colour = np.repeat(images, 3, axis=3)
    assert np.allclose(features(network, iter(grey_in_colour)), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 8, 1), (8, 8, 3)])
def test_an_image_of_another_shape_is_named(model, shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    with pytest.raises(InputError, match=r"data\.image_size"):
        features(read_reference(model).network, iter([image]))


def test_an_empty_class_is_named(data, folder):
    (folder / "train" / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        Chosen.of(data)
