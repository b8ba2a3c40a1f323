"""The digits, long-tailed, built once for all tests."""

import dataclasses

import pytest
import torch

from longtail.config import DataConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.networks import NetworkSpec

torch.set_num_threads(1)  # the machine's cores are shared, and sums over one thread have one order


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Ten classes of 8x8 grey digits, 383 training images (114 ... 5 a class), 100 to validate, 500 to test."""
    path = tmp_path_factory.mktemp("digits") / "dataset"
    build_dataset(DataConfig(source="digits", imbalance_factor=20, validation="unchosen"), path)
    return Dataset.open(path)


@pytest.fixture(scope="session")
def make_spec(dataset):
    """Return a function that gives the spec of a small network for the digits, with changes."""
    digits = NetworkSpec("small_cnn", "cosine", dataset.image_shape, dataset.class_names, dataset.mean, dataset.std)
    return lambda **changes: dataclasses.replace(digits, **changes)


@pytest.fixture(scope="session")
def same_weights():
    """Return a function that tells whether two networks have equal weights and buffers, bit for bit."""

    def compare(one, other):
        left, right = one.state_dict(), other.state_dict()
        return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

    return compare
