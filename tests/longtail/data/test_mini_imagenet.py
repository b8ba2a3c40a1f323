import logging

import numpy as np
import pytest

from longtail.config import DataConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.data.mini_imagenet import class_files, layout, load
from longtail.errors import InputError

IDS = ("n01532829", "n01533829", "n01534829", "n01535829")


def config(path, **settings):
    return DataConfig(source="mini_imagenet", path=str(path), **settings)


def test_both_layouts_hold_the_same_rows(imagenet_folder):
    flat = load(config(imagenet_folder()))
    folders = load(config(imagenet_folder(flat=False, name="folders")))
    assert flat.class_names == folders.class_names == IDS
    assert flat.train.labels.tolist() == folders.train.labels.tolist() == sorted([*range(4)] * 14)
    assert flat.train.names(15) == "images/n01533829_1.JPEG"
    assert folders.train.names(15) == "folders/n01533829/n01533829_1.JPEG"
    assert all(np.array_equal(flat.train.read(i), folders.train.read(i)) for i in range(56))
    assert flat.test is None


def test_classes_txt_chooses_classes(imagenet_folder):
    root = imagenet_folder()
    (root / "classes.txt").write_text(f"{IDS[2]}\n\n{IDS[0]}\n")
    assert load(config(root)).class_names == (IDS[0], IDS[2])
    (root / "classes.txt").write_text(f"{IDS[2]}\nn09999999\n")
    with pytest.raises(InputError, match=r"no images of 1 classes in classes.txt, such as n09999999"):
        load(config(root))
    (root / "classes.txt").write_text("goldfish\n")
    with pytest.raises(InputError, match=r"has the line 'goldfish': write one WordNet id a line"):
        load(config(root))


def test_another_number_of_classes_is_said_once(imagenet_folder, tmp_path, caplog):
    few = config(imagenet_folder(shape=(66, 80)), imbalance_factor=10)
    with caplog.at_level(logging.WARNING, "longtail.data"):
        fields = build_dataset(few, tmp_path / "out")
        Dataset.open(tmp_path / "out").split("test").images(slice(0, 1))
    assert [record.getMessage() for record in caplog.records] == [fields["remark"]]
    assert "images has 4 classes, mini-ImageNet has 100: to use a part of" in fields["remark"]
    assert not load(config(imagenet_folder(per_class=1, classes=100, name="hundred"))).remark


def test_other_files_are_ignored(imagenet_folder):
    root = imagenet_folder()
    for name in ("notes.txt", "cat.JPEG", ".n01532829_9.JPEG", "n0153_1.JPEG"):
        (root / name).write_bytes(b"")
    (root / "n12").mkdir()
    assert {name: len(files) for name, files in class_files(root).items()} == dict.fromkeys(IDS, 14)


@pytest.mark.parametrize("path", ["", "nowhere", "."])
def test_no_images(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"give a folder with ILSVRC-2012 training images as n01532829_1234.JPEG"):
        load(config(path))


def test_layouts(imagenet_folder, image_folder):
    assert layout(imagenet_folder()) == "flat"
    root = imagenet_folder(flat=False, name="folders")
    assert layout(root) == "folders"
    (root / "cat").mkdir()
    assert layout(root) == layout(image_folder()) == ""


def test_same_splits_in_both_layouts_and_other_images_for_another_seed(imagenet_folder, tmp_path):
    """Ten training images of the largest class, two a class to validate and to test: 500 : 100 : 100."""
    folders = {"flat": imagenet_folder(), "folders": imagenet_folder(flat=False, name="folders")}
    settings = {"imbalance_factor": 10, "validation": "unchosen", "validation_per_class": 100}
    for name, root in folders.items():
        build_dataset(config(root, **settings), tmp_path / name)
    build_dataset(config(folders["flat"], seed=1, **settings), tmp_path / "other")
    flat, by_class, other = (Dataset.open(tmp_path / name) for name in ("flat", "folders", "other"))
    assert flat.train_counts.tolist() == [10, 4, 2, 1]
    assert flat.subset_sha256 == by_class.subset_sha256 != other.subset_sha256
    rows = []
    for name in ("train", "validation", "test"):
        split = flat.split(name)
        assert np.array_equal(split.images(slice(None)), by_class.split(name).images(slice(None)))
        rows += split.ids.tolist()
    assert len(set(rows)) == len(rows) == 17 + 8 + 8
    assert np.array_equal(flat.split("test").ids, other.split("test").ids)
