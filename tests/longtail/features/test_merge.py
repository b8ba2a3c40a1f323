import dataclasses

import numpy as np
import pytest

from longtail.artifacts import sha256_file
from longtail.calibration import ClassStatistics
from longtail.config import DataConfig, FeaturesConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.errors import InputError
from longtail.features import Features, extract, merge_shards
from longtail.networks import build
from longtail.shards import Shard

CONFIG = FeaturesConfig(views=2, batch_size=50)


@pytest.fixture(scope="module")
def write(make_spec, dataset, tmp_path_factory):
    """Return a function that extracts features, or a shard of them, to a new place."""
    classifier = build(make_spec(), seed=1)

    def call(shard=None, *, config=CONFIG, augmentation="crop_flip", seed=1, source=dataset):
        path = tmp_path_factory.mktemp("features") / "features"
        extract(classifier, source, config, augmentation, path, seed=seed, **({"shard": shard} if shard else {}))
        return path

    return call


def files(folder):
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shards(write):
    return [write(Shard(index, 3)) for index in range(3)]


@pytest.mark.parametrize("augmentation", ["crop_flip", "crop", "none"])
def test_merged_shards_are_bit_for_bit_what_one_task_writes(write, tmp_path, augmentation):
    parts = [write(Shard(index, 3), augmentation=augmentation) for index in (2, 0, 1)]
    merge_shards(parts, tmp_path / "merged")
    assert files(tmp_path / "merged") == files(write(augmentation=augmentation))
    Features.open(tmp_path / "merged")


def test_random_crops_are_those_of_one_task(write, make_spec, tmp_path):
    build_dataset(DataConfig(source="digits", imbalance_factor=20, crop_size=8), tmp_path / "cropped")
    source = Dataset.open(tmp_path / "cropped")
    parts = [write(Shard(index, 2), source=source) for index in range(2)]
    merge_shards(parts, tmp_path / "merged")
    assert files(tmp_path / "merged") == files(write(source=source))


def test_there_may_be_more_shards_than_batches(write, tmp_path):
    config = dataclasses.replace(CONFIG, batch_size=300)
    merge_shards([write(Shard(index, 4), config=config) for index in range(4)], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(write(config=config))


def test_statistics_of_shards_are_those_of_the_whole(shards, write):
    whole = Features.open(write())
    classes = len(whole.class_names)
    expected = ClassStatistics.from_rows(whole.train(), whole.labels("train"), classes)
    parts = [(np.load(part / "train" / "view-0.npy"), np.load(part / "train" / "labels.npy")) for part in shards]
    merged, *others = [ClassStatistics.from_rows(X, codes, classes) for X, codes in parts]
    for other in others:
        merged = merged.merge(other)
    np.testing.assert_array_equal(merged.counts, expected.counts)
    assert relative(merged.means, expected.means) < 1e-6
    for index in np.flatnonzero(expected.counts > 1):
        assert relative(merged.covariance(index), expected.covariance(index)) < 1e-6


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_shards_of_other_features_are_refused(shards, write, tmp_path):
    other = write(Shard(1, 3), config=dataclasses.replace(CONFIG, views=1))
    with pytest.raises(InputError, match="is a shard of another whole than"):
        merge_shards([shards[0], other, shards[2]], tmp_path / "merged")


def test_a_shard_is_no_features_artifact(shards):
    with pytest.raises(InputError, match=r"holds 'longtail.shard', not 'longtail.features'"):
        Features.open(shards[0])
