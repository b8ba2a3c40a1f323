import numpy as np
import pytest

from longtail.config import DataConfig
from longtail.data.imagefolder import load
from longtail.errors import InputError


def config(path):
    return DataConfig(source="imagefolder", path=str(path))


def test_classes_labels_names_and_pixels(image_folder, pixels):
    source = load(config(image_folder(classes=("dog", "cat"))))
    assert (source.name, source.class_names) == ("folder", ("cat", "dog"))
    assert source.train.labels.tolist() == [0] * 6 + [1] * 6
    assert source.train.names(7) == "train/dog/1.png"
    assert np.array_equal(source.train.read(7), pixels(5001, 8, 8, 3))


@pytest.mark.parametrize(("suffix", "kind"), [("JPG", "JPEG"), ("jpeg", "JPEG"), ("Bmp", "BMP"), ("webp", "WEBP")])
def test_formats_in_any_case(image_folder, suffix, kind):
    source = load(config(image_folder(suffix=suffix, kind=kind, test_name="val")))
    assert (len(source.train.labels), len(source.test.labels)) == (12, 4)
    assert source.test.read(0).shape == (8, 8, 3)


def test_hidden_and_other_files_are_ignored(image_folder):
    root = image_folder()
    (root / "train" / ".cache").mkdir()
    (root / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (root / "train" / "cat" / "notes.txt").write_text("")
    source = load(config(root))
    assert source.class_names == ("cat", "dog")
    assert len(source.train.labels) == 12


def test_a_test_class_that_train_lacks_is_unknown(image_folder, encode, pixels):
    root = image_folder()
    (root / "test" / "emu").mkdir()
    (root / "test" / "emu" / "ü.png").write_bytes(encode(pixels(0, 8, 8, 3)))
    source = load(config(root))
    assert source.test.labels.tolist() == [0, 0, 1, 1, -1]
    assert source.test.names(4) == "test/emu/ü.png"
    assert source.test.read(4).shape == (8, 8, 3)


def test_a_file_that_vanished(image_folder):
    root = image_folder()
    source = load(config(root))
    (root / "train" / "cat" / "0.png").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        source.train.read(0)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_missing_split(image_folder, missing):
    root = image_folder()
    (root / missing).rename(root / "other")
    with pytest.raises(InputError, match="give a folder with train/CLASS/ and test/CLASS/"):
        load(config(root))


def test_no_path():
    with pytest.raises(InputError, match=r"data.path is ''"):
        load(config(""))
