import re
from unittest.mock import create_autospec

import numpy as np
import pytest
from PIL import Image

from longtail.artifacts import sha256_file
from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.tracking.recording import Run

CONFIG = {"imbalance_factor": 30, "validation": "unchosen"}


@pytest.fixture
def run():
    return create_autospec(Run, instance=True)


def test_the_page_and_the_run_say_what_the_artifact_holds(call, run, tmp_path):
    done = call("data_imbalancing", tmp_path, {}, CONFIG, run=run)
    dataset = Dataset.open(done.outputs["dataset"])
    counts = dataset.train_counts
    described = dict(done.described["dataset"])
    data = described.pop("data")
    assert described == {"subset_sha256": dataset.subset_sha256, "train_images": counts.sum(), "classes": 10}
    assert (data["name"], data["splits"]["train"]) == ("digits", dataset.subset_sha256)
    assert set(data["splits"]) == {"train", "validation", "test"}
    page = done.outputs["report"].read_text()
    assert f"{counts.sum():,} training images in 10 classes, {counts.max()} in the largest and {counts.min()}" in page
    assert dataset.subset_sha256 in page
    assert "<img" in page
    run.log_metrics.assert_called_once_with({
        "data/train_images": counts.sum(),
        "data/largest_class": counts.max(),
        "data/smallest_class": counts.min(),
    })
    assert run.log_figure.call_args.args[1] == "class_counts.png"


def test_the_steps_seed_chooses_nothing(call, tmp_path):
    digests = [
        sha256_file(call("data_imbalancing", tmp_path / str(seed), {}, CONFIG, seed=seed).outputs["dataset"] / name)
        for name in ("train/ids.npy", "train/images.npy")
        for seed in (1, 2)
    ]
    assert digests[0] == digests[1]
    assert digests[2] == digests[3]


def test_the_settings_seed_chooses_the_images(call, tmp_path):
    chosen = [
        Dataset.open(call("data_imbalancing", tmp_path / str(seed), {}, {"seed": seed}).outputs["dataset"])
        for seed in (0, 1)
    ]
    assert chosen[0].subset_sha256 != chosen[1].subset_sha256
    np.testing.assert_array_equal(chosen[0].train_counts, chosen[1].train_counts)


def test_too_few_images_write_neither_artifact_nor_page(call, tmp_path):
    with pytest.raises(InputError, match=re.escape("data.largest_class")):
        call("data_imbalancing", tmp_path, {}, {"largest_class": 100_000})
    assert not list(tmp_path.iterdir())


def test_the_page_says_where_test_and_validation_images_are_from(call, tmp_path):
    for name, count in (("cat", 12), ("dog", 5), ("emu", 1)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / "images" / name / f"{i}.png")
    config = {"source": "imagefolder", "path": str(tmp_path / "images"), "profile": "natural"}
    pages = [
        call("data_imbalancing", tmp_path / name, {}, config | {"validation": name}).outputs["report"].read_text()
        for name in ("none", "test")
    ]
    assert all("test images were held out of each class" in page for page in pages)
    assert all("1 classes have too few images to be tested; no accuracy counts them: emu." in page for page in pages)
    assert ["Validation is on the test images" in page for page in pages] == [False, True]
    page = call("data_imbalancing", tmp_path / "digits", {}).outputs["report"].read_text()
    assert "held out" not in page
