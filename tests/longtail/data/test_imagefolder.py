import numpy as np
import pytest

from longtail.config import DataConfig
from longtail.data.imagefolder import load, split_folders
from longtail.errors import InputError


def config(path):
    return DataConfig(source="imagefolder", path=str(path))


def test_classes_labels_names_and_pixels(image_folder, pixels):
    source = load(config(image_folder(classes=("dog", "cat"))))
    assert (source.name, source.class_names) == ("folder", ("cat", "dog"))
    assert source.train.labels.tolist() == [0] * 6 + [1] * 6
    assert source.train.names(7) == "train/dog/1.png"
    assert np.array_equal(source.train.read(7), pixels(5001, 8, 8, 3))


@pytest.mark.parametrize(
    ("suffix", "kind"), [("JPG", "JPEG"), ("jpeg", "JPEG"), ("Bmp", "BMP"), ("webp", "WEBP"), ("ppm", "PPM")]
)
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


def test_class_folders_alone_have_no_test_split(class_folder, pixels):
    root = class_folder(cat=3, dog=2)
    (root / "README.txt").write_text("")
    source = load(config(root))
    assert (source.name, source.class_names, source.test) == ("classes", ("cat", "dog"), None)
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert source.train.names(3) == "classes/dog/0.png"
    assert np.array_equal(source.train.read(3), pixels(100, 8, 8, 3))


def test_a_class_may_be_called_like_a_split(class_folder):
    source = load(config(class_folder(bus=2, test=1, train=3)))
    assert (source.class_names, source.test) == (("bus", "test", "train"), None)
    assert source.train.labels.tolist() == [0, 0, 1, 2, 2, 2]


def test_train_without_test(image_folder):
    root = image_folder()
    (root / "test").rename(root / "other")
    source = load(config(root))
    assert (source.class_names, source.test) == (("cat", "dog"), None)


@pytest.mark.parametrize("names", [("test", "val"), ("train", "test"), ("empty", "folders")])
def test_folders_that_are_no_classes(tmp_path, encode, pixels, names):
    """A split without class folders is not taken for a class."""
    for name in names:
        (tmp_path / name).mkdir()
        if "empty" not in names:
            (tmp_path / name / "0.png").write_bytes(encode(pixels(0, 8, 8, 3)))
    assert split_folders(tmp_path) == {}
    with pytest.raises(
        InputError, match=r"give a folder with CLASS/ folders of .png, .* or with train/CLASS/ and test"
    ):
        load(config(tmp_path))


def test_no_path():
    with pytest.raises(InputError, match=r"data.path is ''"):
        load(config(""))
