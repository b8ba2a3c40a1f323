"""A folder of digits as a source, and what a champion that was trained on it keeps."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from longtail.config import DataConfig
from longtail.data import digits
from longtail.drift.reference import FILE
from longtail.drift.sample import Chosen, features
from longtail.networks import NetworkSpec, build, save
from longtail.networks.extension import NETWORK

NAMES = tuple("abcdef")


def write_images(folder, label, images):
    """Write images (N, 8, 8) as files of a class."""
    target = folder / "train" / NAMES[label]
    target.mkdir(parents=True, exist_ok=True)
    start = len(list(target.iterdir()))
    for number, image in enumerate(images, start):
        Image.fromarray(image).save(target / f"{number:03}.png")


def images_of(label, first=0, last=60):
    images, labels = digits.arrays()
    return images[labels == label].reshape(-1, 8, 8)[first:last]


@pytest.fixture
def folder(tmp_path):
    """Five classes of 60 grey digits, without a test split."""
    for label in range(5):
        write_images(tmp_path / "source", label, images_of(label))
    return tmp_path / "source"


@pytest.fixture
def data(folder):
    return DataConfig(source="imagefolder", path=str(folder), profile="natural")


@pytest.fixture
def model(data, tmp_path):
    """The folder of a model whose network was never trained, with the moments of the images chosen from the source."""
    network = build(NetworkSpec("small_cnn", "cosine", (8, 8, 1), NAMES[:5], (0.3,), (0.3,)), seed=0).eval()
    save(network, tmp_path / "model" / NETWORK, {})
    chosen = Chosen.of(data)
    rows = [features(network, chosen.images(chosen.rows(name, 999, np.random.default_rng()))) for name in NAMES[:5]]
    scatter = sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in rows)
    counts = np.array([len(part) for part in rows])
    deviation = np.sqrt(scatter / (counts.sum() - len(rows))).astype(np.float32)
    means = np.stack([part.mean(axis=0) for part in rows])
    save_file({"class_means": means, "std": deviation, "class_counts": counts}, tmp_path / "model" / FILE)

    return tmp_path / "model"
