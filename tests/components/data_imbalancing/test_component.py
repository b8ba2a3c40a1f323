import json
from pathlib import Path

import numpy as np
import pytest

from longtail.data.dataset import Dataset


@pytest.fixture
def folder(chain):
    return Path(chain["data_imbalancing"]["dataset"].path)


def test_the_counts_follow_the_profile(folder):
    dataset = Dataset.open(folder)
    counts = np.bincount(dataset.split("train").labels)
    assert counts.tolist() == dataset.train_counts.tolist() == sorted(counts, reverse=True)
    assert counts[-1] == counts[0] // 60


def test_metadata_names_the_subset(chain, folder):
    metadata = chain["data_imbalancing"]["dataset"].metadata
    assert metadata["subset_sha256"] == Dataset.open(folder).subset_sha256
    assert metadata["train_images"] == len(Dataset.open(folder).split("train"))


def test_numbers_are_whole_again(folder):
    assert json.loads((folder / "manifest.json").read_text())["seed"] == 0


def test_another_seed_chooses_other_images(call, folder, tmp_path):
    other = call("data_imbalancing", tmp_path, {}, {"seed": 1.0})["dataset"]
    assert Dataset.open(Path(other.path)).subset_sha256 != Dataset.open(folder).subset_sha256


def test_the_data_digest_is_for_the_cache_alone(call, folder, tmp_path):
    same = call("data_imbalancing", tmp_path, {}, data_digest="0" * 64)["dataset"]
    assert (Path(same.path) / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


def test_a_folder_that_is_not_there_is_refused(call, refuses, tmp_path):
    config = {"source": "imagefolder", "path": str(tmp_path / "none")}
    line = refuses(lambda: call("data_imbalancing", tmp_path / "out", {}, config), tmp_path / "out")
    assert str(tmp_path / "none") in line
