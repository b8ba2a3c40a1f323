import numpy as np
import pytest

from longtail.config import DataConfig
from longtail.data.imbalance import subset_sha256
from longtail.data.splits import Choice
from longtail.data.storage import check_crop, store_images, write_rows
from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError


@pytest.fixture
def source(pixels):
    def make(side=8, channels=3, test=True):
        images = pixels(0, 6, side, side, channels)
        tables = [ImageTable(np.arange(6) % 2, str, images.__getitem__) for _ in range(2)]
        return Source("toy", ("a", "b"), tables[0], tables[1] if test else None)

    return make


def splits(table="test", *, shared=False):
    test = Choice(table, np.array([3, 4, 5]))
    found = {"train": Choice("train", np.array([0, 2])), "test": test}
    return found | ({"validation": test} if shared else {})


def test_rows_and_what_the_manifest_says(source, tmp_path):
    fields = write_rows(source(), splits(), tmp_path)
    assert np.load(tmp_path / "test" / "ids.npy").tolist() == [3, 4, 5]
    assert np.load(tmp_path / "test" / "labels.npy").tolist() == [1, 0, 1]
    assert (fields["train_counts"], fields["test_counts"]) == ([2, 0], [1, 2])
    assert fields["subset_sha256"] == subset_sha256(np.array([0, 2]))
    assert fields["splits"]["test"] == {"images": 3, "table": "test", "source_images": 6, "folder": "test"}
    (tmp_path / "other").mkdir()
    held_out = write_rows(source(test=False), splits("train"), tmp_path / "other")["splits"]
    assert held_out["test"]["table"] == "train"


def test_validation_on_the_test_images_is_stored_once(source, tmp_path):
    chosen, done = splits(shared=True), []
    fields = write_rows(source(), chosen, tmp_path)
    store_images(source(), chosen, DataConfig(), tmp_path, lambda *counts: done.append(counts))
    assert fields["splits"]["validation"] == fields["splits"]["test"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["test", "train"]
    assert done[-1] == (5, 5)


@pytest.mark.parametrize(("side", "storage"), [(64, "packed"), (65, "lazy")])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_stored_whole(source, tmp_path, side, storage, channels):
    images = source(side, channels)
    write_rows(images, splits(), tmp_path)
    fields = store_images(images, splits(), DataConfig(crop_size=60), tmp_path)
    assert fields == {"image_shape": [60, 60, channels], "storage": storage}
    if storage == "packed":
        stored = np.load(tmp_path / "train" / "images.npy")
        assert np.array_equal(stored, [images.train.read(0), images.train.read(2)])
    else:
        assert not list(tmp_path.rglob("images.npy"))


def test_a_crop_larger_than_the_images(source, tmp_path):
    write_rows(source(), splits(), tmp_path)
    with pytest.raises(InputError, match=r"data.crop_size is 9: it must be at most .*, 8 pixels"):
        store_images(source(), splits(), DataConfig(crop_size=9), tmp_path)
    check_crop(8, 8)
