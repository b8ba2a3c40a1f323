import dataclasses

import numpy as np
import pytest
import torch

from longtail.config import DataConfig, FeaturesConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.errors import InputError
from longtail.features import Features, extract
from longtail.networks import build

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def classifier(make_spec, dataset):
    network = build(make_spec(), seed=1)
    images = torch.from_numpy(np.array(dataset.split("train").packed))
    network.train()(network.preprocess(images))  # so that eval and train mode differ
    return network


@pytest.fixture(scope="module")
def write(classifier, dataset, tmp_path_factory):
    """Return a function that extracts features of the digits to a new place."""

    def call(views=2, batch_size=100, augmentation="crop", seed=1, progress=None):
        path = tmp_path_factory.mktemp("features") / "features"
        config = FeaturesConfig(views=views, batch_size=batch_size)
        extract(classifier, dataset, config, augmentation, path, seed=seed, progress=progress)
        return path

    return call


@pytest.fixture(scope="module")
def features(write):
    return Features.open(write())


def test_clean_view_is_what_the_backbone_gives_in_eval_mode(features, classifier, dataset):
    classifier.train()
    for name in SPLITS:
        split = dataset.split(name)
        with torch.no_grad():
            images = torch.from_numpy(np.array(split.packed))
            expected = classifier.eval().backbone(classifier.preprocess(images)).numpy()
        found = features.split(name)
        assert (found.dtype, found.shape) == (np.float32, (len(split), 64))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(features.labels(name), split.labels)
        np.testing.assert_array_equal(np.load(features.path / name / "ids.npy"), split.ids)
    assert np.array_equal(features.train(0), features.split("train"))


def test_views_are_augmented_and_differ_from_each_other(features):
    views = [features.train(view) for view in range(3)]
    assert features.views == 2
    assert all(view.shape == views[0].shape for view in views)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        changed = np.abs(views[one] - views[other]).max(axis=1) > 1e-3
        assert changed.mean() > 0.5


def test_view_is_the_backbone_on_augmented_images(write, classifier, dataset):
    """With one batch for the whole split the draws are those of one call."""
    from longtail.training.augmentation import augment

    features = Features.open(write(views=1, batch_size=1000, seed=5))
    images = torch.from_numpy(np.array(dataset.split("train").packed))
    for offset in (0, 1):
        shifted = augment(images, "crop", torch.Generator().manual_seed(5 * 1_000_003 + 1 + offset))
        with torch.no_grad():
            expected = classifier.eval().backbone(classifier.preprocess(shifted)).numpy()
        assert np.allclose(features.train(1), expected, atol=1e-5) == (offset == 0)


def test_only_the_training_split_has_views(features):
    assert sorted(entry.name for entry in (features.path / "train").iterdir()) == [
        "ids.npy",
        "labels.npy",
        "view-0.npy",
        "view-1.npy",
        "view-2.npy",
    ]
    for name in ("validation", "test"):
        assert not (features.path / name / "view-1.npy").exists()


def test_same_seed_gives_the_same_artifact(write, features):
    again, other = Features.open(write()), Features.open(write(seed=2))
    assert again.digest == features.digest
    assert other.digest != features.digest
    assert np.array_equal(other.train(0), features.train(0))
    assert not np.array_equal(other.train(1), features.train(1))


def test_without_augmentation_views_are_the_clean_one(write):
    features = Features.open(write(views=1, augmentation="none"))
    assert np.array_equal(features.train(1), features.train(0))


def test_batch_size_does_not_matter_for_clean_views(write, features):
    other = Features.open(write(views=0, batch_size=7))
    assert other.views == 0
    np.testing.assert_allclose(other.split("test"), features.split("test"), rtol=1e-5, atol=1e-5)


def test_manifest_says_what_retraining_needs(features, dataset):
    assert features.class_names == dataset.class_names
    np.testing.assert_array_equal(features.train_counts, dataset.train_counts)


def test_arrays_are_memory_mapped_and_read_only(features):
    for array in (features.train(1), features.split("test"), features.labels("train")):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_data_set_without_validation(classifier, tmp_path):
    build_dataset(DataConfig(source="digits", imbalance_factor=20, largest_class=20), tmp_path / "dataset")
    dataset = Dataset.open(tmp_path / "dataset")
    extract(classifier, dataset, FeaturesConfig(), "crop", tmp_path / "features", seed=1)
    features = Features.open(tmp_path / "features")
    assert sorted(entry.name for entry in features.path.iterdir()) == ["example.npy", "manifest.json", "test", "train"]
    assert len(features.split("train")) == dataset.train_counts.sum()


@pytest.mark.parametrize("name", ["train/view-1.npy", "test/labels.npy"])
def test_changed_byte_is_found(write, name):
    path = write()
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"does not match its digest"):
        Features.open(path)


def test_other_artifacts_are_refused(dataset):
    with pytest.raises(InputError, match=r"holds 'longtail.dataset', not 'longtail.features'"):
        Features.open(dataset.path)


def test_progress_counts_the_images_of_all_passes(write, dataset):
    calls = []
    write(views=2, progress=lambda done, total: calls.append((done, total)))
    train, validation, test = (len(dataset.split(name)) for name in SPLITS)
    total = 3 * train + validation + test
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_failure_leaves_no_artifact(classifier, dataset, tmp_path):
    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(classifier, dataset, FeaturesConfig(), "crop", tmp_path / "features", seed=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_it_keeps_what_a_model_needs_of_the_images(features, dataset):
    np.testing.assert_array_equal(features.example(), dataset.split("test").images(slice(2)))
    assert (features.dataset_digest, features.subset_sha256) == (dataset.digest, dataset.subset_sha256)
    assert features.scaling() is None


def test_an_artifact_without_an_example_is_named(features):
    with pytest.raises(InputError, match=r"example.npy is missing: write the features again"):
        dataclasses.replace(features, path=features.path / "train").example()
