import dataclasses
import os
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from longtail.config import DataConfig, parse
from longtail.data import imagefolder
from longtail.data.crops import draw_crops, random_crop
from longtail.data.dataset import Dataset, build_dataset
from longtail.data.images import decode
from longtail.data.imbalance import subset_sha256
from longtail.data.sources import load_source
from longtail.errors import InputError


def folder_config(path, **settings):
    return DataConfig(source="imagefolder", path=str(path), imbalance_factor=3.0, **settings)


def parquet_config(path, **settings):
    return DataConfig(source="parquet", path=str(path), imbalance_factor=3.0, **settings)


def tree(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_digits(tmp_path):
    seen = []
    fields = build_dataset(DataConfig(), tmp_path / "out", lambda done, total: seen.append((done, total)))
    data = Dataset.open(tmp_path / "out")
    assert seen[-1] == (804, 804)
    assert data.train_counts.tolist() == fields["train_counts"] == [124, 74, 44, 26, 16, 9, 5, 3, 2, 1]
    assert (data.name, data.image_shape, data.class_names[3]) == ("digits", (8, 8, 1), "3")
    train, test = data.split("train"), data.split("test")
    assert (len(train), len(test), data.has_split("validation")) == (304, 500, False)
    assert np.array_equal(np.bincount(train.labels), data.train_counts)
    assert data.subset_sha256 == subset_sha256(train.ids)
    pixels = train.images(slice(None)) / 255
    assert data.mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert data.std == pytest.approx(pixels.std((0, 1, 2)))


def test_images_labels_and_ids_belong_together(parquet_folder, tmp_path):
    config = parquet_config(parquet_folder(names=["x", "y", "z"]))
    build_dataset(config, tmp_path / "out")
    data, source = Dataset.open(tmp_path / "out"), load_source(config)
    assert data.class_names == ("x", "y", "z")
    for name, table in (("train", source.train), ("test", source.test)):
        split = data.split(name)
        assert np.array_equal(split.labels, table.labels[split.ids])
        assert isinstance(split.packed, np.memmap)
        every = np.stack([table.read(int(i)) for i in split.ids])
        assert np.array_equal(split.images(np.array([3, 0])), every[[3, 0]])
        assert np.array_equal(split.images(slice(1, 4)), every[1:4])
        assert split.images(slice(1, 4)).flags.writeable
    assert len(data.split("test")) == 6


@pytest.mark.parametrize("validation", ["unchosen", "chosen"])
def test_validation_comes_from_training_images_alone(parquet_folder, tmp_path, validation):
    config = parquet_config(parquet_folder(train=12), largest_class=8, validation=validation, validation_per_class=3)
    build_dataset(config, tmp_path / "out")
    data = Dataset.open(tmp_path / "out")
    train, held_out = data.split("train"), data.split("validation")
    assert not np.isin(held_out.ids, train.ids).any()
    assert np.bincount(held_out.labels).tolist() == ([3, 3, 3] if validation == "unchosen" else [3, 2, 1])
    assert data.train_counts.tolist() == ([8, 4, 2] if validation == "unchosen" else [5, 2, 1])
    source = load_source(config)
    assert np.array_equal(held_out.images(slice(0, 1))[0], source.train.read(int(held_out.ids[0])))


def test_same_seed_same_bytes_other_seed_other_images(parquet_folder, tmp_path):
    folder = parquet_folder(train=12)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build_dataset(parquet_config(folder, seed=seed, validation="chosen"), tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    a, c = Dataset.open(tmp_path / "a"), Dataset.open(tmp_path / "c")
    assert a.subset_sha256 != c.subset_sha256
    assert a.digest != c.digest
    assert np.array_equal(a.split("test").ids, c.split("test").ids)


def test_large_images_are_decoded_when_asked_for(image_folder, tmp_path):
    config = folder_config(image_folder(shape=(70, 90, 3)), image_size=66)
    fields = build_dataset(config, tmp_path / "out")
    assert (fields["storage"], fields["image_shape"]) == ("lazy", [66, 66, 3])
    assert not list((tmp_path / "out").rglob("images.npy"))
    data = Dataset.open(tmp_path / "out")
    split = data.split("train")
    assert split.packed is None
    assert split.images(np.array([5, 1, 1])).shape == (3, 66, 66, 3)
    assert np.array_equal(split.images(slice(0, 8))[5], split.images(np.array([5]))[0])
    everything = split.images(slice(None)) / 255
    assert data.mean == pytest.approx(everything.mean((0, 1, 2)))


def test_a_lazy_data_set_notices_that_its_source_changed(image_folder, tmp_path, encode, pixels):
    root = image_folder(shape=(70, 70, 3))
    build_dataset(folder_config(root), tmp_path / "out")
    (root / "test" / "dog" / "0.png").write_bytes(encode(pixels(0, 80, 80, 3)))
    (root / "test" / "dog" / "1.png").write_bytes(b"")
    test = Dataset.open(tmp_path / "out").split("test")
    with pytest.raises(InputError, match=r"'test/dog/0.png' changed its size"):
        test.images(np.array([2]))
    with pytest.raises(InputError, match=r"'test/dog/1.png': not a readable image"):
        test.images(np.array([3]))
    (root / "train" / "cat" / "0.png").unlink()
    with pytest.raises(InputError, match="changed since the data set was built"):
        Dataset.open(tmp_path / "out").split("train").images(slice(0, 1))


def test_grey_and_colour_together_become_colour(image_folder, tmp_path, encode, pixels):
    root = image_folder(shape=(8, 8))
    build_dataset(folder_config(root), tmp_path / "grey")
    assert Dataset.open(tmp_path / "grey").split("test").images(slice(0, 2)).shape == (2, 8, 8, 1)
    (root / "test" / "cat" / "0.png").write_bytes(encode(pixels(0, 8, 8, 4)))
    build_dataset(folder_config(root), tmp_path / "mixed")
    data = Dataset.open(tmp_path / "mixed")
    assert data.image_shape == (8, 8, 3)
    assert np.array_equal(data.split("test").images(slice(0, 1))[0], pixels(0, 8, 8, 4)[:, :, :3])
    grey = data.split("test").images(slice(1, 2))
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_lazy_grey_and_colour(image_folder, tmp_path, encode, pixels):
    root = image_folder(shape=(70, 70))
    (root / "test" / "cat" / "0.png").write_bytes(encode(pixels(0, 70, 70, 3)))
    build_dataset(folder_config(root), tmp_path / "out")
    assert Dataset.open(tmp_path / "out").split("train").images(slice(0, 2)).shape == (2, 70, 70, 3)


def test_mixed_sizes_need_an_image_size(image_folder, tmp_path, encode, pixels):
    root = image_folder()
    (root / "test" / "cat" / "0.png").write_bytes(encode(pixels(0, 12, 9, 3)))
    with pytest.raises(InputError, match=r"2 sizes: 8x8 .*, 12x9 \(1, such as 'test/cat/0.png'\); set data.image_size"):
        build_dataset(folder_config(root), tmp_path / "out")
    fields = build_dataset(folder_config(root, image_size=8), tmp_path / "out")
    assert fields["image_shape"] == [8, 8, 3]


@pytest.mark.parametrize("side", [8, 70])
def test_corrupt_images_are_named_all_at_once(image_folder, tmp_path, side):
    root = image_folder(shape=(side, side, 3))
    for name in ("train/cat/2.png", "test/dog/1.png"):
        (root / name).write_bytes((root / name).read_bytes()[:60])
    with pytest.raises(InputError, match=r"2 corrupt images: 'train/cat/2.png': .*, 'test/dog/1.png'"):
        build_dataset(folder_config(root), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_every_kind_of_problem_is_in_one_message(image_folder, tmp_path):
    root = image_folder(classes=("cat", "dog", "emu"))
    (root / "test" / "emu").rename(root / "test" / "gnu")
    (root / "train" / "dog" / "0.png").write_bytes(b"")
    for file in (root / "train" / "cat").iterdir():
        file.unlink()
    with pytest.raises(InputError) as caught:
        build_dataset(folder_config(root), tmp_path / "out")
    message = str(caught.value)
    assert "2 empty classes: 'cat' in train, 'emu' in test" in message
    assert "2 unknown labels: 'test/gnu/0.png' (-1), 'test/gnu/1.png' (-1)" in message
    assert "1 corrupt images: 'train/dog/0.png'" in message
    assert "\n" not in message


def test_unknown_labels_in_parquet(parquet_folder, tmp_path):
    def edit(split, images, labels):
        if split == "train":
            labels[3], labels[10] = None, 7

    folder = parquet_folder(edit=edit, names=["x", "y", "z"])
    with pytest.raises(
        InputError, match=r"2 unknown labels: 'train-00000-of-00002.parquet row 3' \(-1\), .*row 1' \(7"
    ):
        build_dataset(parquet_config(folder), tmp_path / "out")


def test_classes_that_are_too_small_are_named(parquet_folder, tmp_path):
    config = parquet_config(parquet_folder(names=["x", "y", "z"]), largest_class=20)
    with pytest.raises(InputError, match="'x' has 6 of 20, 'y' has 6 of 11"):
        build_dataset(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_without_images(parquet_folder, tmp_path):
    with pytest.raises(InputError, match="toy has no classes"):
        build_dataset(parquet_config(parquet_folder(train=0, files=1)), tmp_path / "out")


def test_natural_profile_keeps_everything(parquet_folder, tmp_path):
    config = DataConfig(source="parquet", path=str(parquet_folder()), profile="natural")
    assert build_dataset(config, tmp_path / "out")["train_counts"] == [6, 6, 6]


def test_changed_artifact_and_unknown_split(tmp_path):
    build_dataset(DataConfig(), tmp_path / "out")
    with pytest.raises(InputError, match="no split 'validation': choose from train, test"):
        Dataset.open(tmp_path / "out").split("validation")
    with (tmp_path / "out" / "train" / "labels.npy").open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    with pytest.raises(InputError, match="does not match its digest"):
        Dataset.open(tmp_path / "out")


def test_a_data_set_can_be_built_again_with_another_seed(class_folder, tmp_path, monkeypatch):
    root = class_folder(cat=12, dog=12)
    monkeypatch.chdir(root.parent)
    build_dataset(folder_config(root.name), tmp_path / "out")
    data = Dataset.open(tmp_path / "out")
    origin = parse(DataConfig, data.fields["origin"])
    assert origin == folder_config(root)
    assert data.fields["splits"]["train"] == {"images": 13, "table": "train", "source_images": 24, "folder": "train"}
    build_dataset(dataclasses.replace(origin, seed=1), tmp_path / "again")
    again = Dataset.open(tmp_path / "again")
    assert again.subset_sha256 != data.subset_sha256
    assert not np.isin(again.split("train").ids, data.split("test").ids).any()


def test_classes_without_any_split(class_folder, tmp_path):
    """A fifth of each class is held out, one image of a class of two, none of a class of one."""
    config = dataclasses.replace(folder_config(class_folder(ant=20, bee=5, cat=2, dog=1)), profile="natural")
    fields = build_dataset(config, tmp_path / "out")
    data, source = Dataset.open(tmp_path / "out"), load_source(config)
    assert (fields["train_counts"], fields["test_counts"]) == ([16, 4, 1, 1], [4, 1, 1, 0])
    assert fields["held_out"]
    train, test = data.split("train"), data.split("test")
    assert sorted([*train.ids, *test.ids]) == list(range(28))
    assert all(np.array_equal(test.images(slice(None))[i], source.train.read(row)) for i, row in enumerate(test.ids))


def test_parquet_without_a_test_file(parquet_folder, tmp_path):
    root = parquet_folder(train=10)
    for file in root.glob("test*"):
        file.unlink()
    fields = build_dataset(parquet_config(root), tmp_path / "out")
    assert (fields["train_counts"], fields["test_counts"]) == ([8, 4, 2], [2, 2, 2])


@pytest.mark.parametrize("side", [8, 70])
def test_validation_on_the_test_images(image_folder, tmp_path, side):
    config = folder_config(image_folder(shape=(side, side, 3)), validation="test")
    build_dataset(config, tmp_path / "out")
    data = Dataset.open(tmp_path / "out")
    validation, test = data.split("validation"), data.split("test")
    assert np.array_equal(validation.images(slice(None)), test.images(slice(None)))
    assert np.array_equal(validation.labels, test.labels)
    assert not (tmp_path / "out" / "validation").exists()


def test_whole_images_have_no_random_crops(tmp_path):
    build_dataset(DataConfig(), tmp_path / "out")
    data = Dataset.open(tmp_path / "out")
    assert data.crop_size == data.split("train").crop_size == 0
    with pytest.raises(InputError, match=r"built without crops: set data.crop_size"):
        data.split("train").random_crops(slice(0, 1), np.random.default_rng(0))


def test_a_crop_larger_than_the_image_size(tmp_path):
    with pytest.raises(InputError, match=r"data.crop_size is 9: it must be at most the images' shorter side, 8 pixels"):
        build_dataset(DataConfig(image_size=8, crop_size=9), tmp_path / "out")


def test_small_images_are_cropped_as_they_are_stored(parquet_folder, tmp_path):
    config = parquet_config(parquet_folder(shape=(9, 12, 3)), crop_size=6)
    build_dataset(config, tmp_path / "out")
    data, source = Dataset.open(tmp_path / "out"), load_source(config)
    split = data.split("train")
    whole = np.stack([source.train.read(int(i)) for i in split.ids])
    assert data.image_shape == (6, 6, 3)
    assert isinstance(split.packed, np.memmap)
    assert np.array_equal(split.images(slice(None)), whole[:, 2:8, 3:9])
    rows = np.array([4, 0, 4])
    crops = split.random_crops(rows, np.random.default_rng(5))
    draws = draw_crops(3, np.random.default_rng(5))
    assert np.array_equal(crops, [random_crop(whole[i], draw, 6) for i, draw in zip(rows, draws, strict=True)])


@pytest.fixture
def photographs(imagenet_folder, tmp_path):
    """Build 56 images of 375x500 pixels of mini-ImageNet's kind, evaluated at 224x224."""
    root = imagenet_folder(shape=(375, 500))
    config = DataConfig("mini_imagenet", str(root), imbalance_factor=5.0, image_size=256, crop_size=224)
    build_dataset(config, tmp_path / "photographs")
    return Dataset.open(tmp_path / "photographs"), load_source(config)


def test_photographs_are_evaluated_as_by_torchvision(photographs):
    data, source = photographs
    assert (data.fields["storage"], data.image_shape) == ("lazy", (224, 224, 3))
    test = data.split("test")
    for found, row in zip(test.images(slice(0, 3)), test.ids, strict=False):
        picture = Image.fromarray(source.train.read(int(row)))
        expected = functional.center_crop(functional.resize(picture, 256), [224, 224])
        assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 2


def test_photographs_are_cropped_at_full_resolution(photographs):
    data, source = photographs
    split, rows = data.split("train"), np.array([7, 7, 0])
    crops = split.random_crops(rows, np.random.default_rng(3))
    assert (crops.shape, crops.dtype) == ((3, 224, 224, 3), np.uint8)
    assert not np.array_equal(crops[0], crops[1])
    for crop, row, draws in zip(crops, split.ids[rows], draw_crops(3, np.random.default_rng(3)), strict=True):
        assert np.array_equal(crop, random_crop(source.train.read(int(row)), draws, 224))
    assert np.array_equal(crops, data.split("train").random_crops(rows, np.random.default_rng(3)))
    assert not np.array_equal(crops, split.random_crops(rows, np.random.default_rng(4)))


def test_photographs_are_never_all_in_memory(imagenet_folder, tmp_path, monkeypatch):
    """No more of them are decoded at a time than there are threads."""
    alive, most, lock = 0, 0, threading.Lock()

    def counted(data):
        nonlocal alive, most
        image = decode(data)
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(image, gone)
        return image

    def gone():
        nonlocal alive
        with lock:
            alive -= 1

    monkeypatch.setattr(imagefolder, "decode", counted)
    root = imagenet_folder(shape=(375, 500))
    build_dataset(
        DataConfig("mini_imagenet", str(root), imbalance_factor=1.0, image_size=256, crop_size=224), tmp_path / "out"
    )
    split = Dataset.open(tmp_path / "out").split("train")
    assert len(split) == 40
    split.images(slice(None))
    split.random_crops(slice(None), np.random.default_rng(0))
    assert (alive, 0 < most <= min(32, (os.cpu_count() or 1) + 4)) == (0, True)


def test_killed_in_the_middle_leaves_no_artifact(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from longtail.config import DataConfig; "
        "from longtail.data.dataset import build_dataset; "
        "stop = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done > 300 else None; "
        "build_dataset(DataConfig(), Path(sys.argv[1]), stop)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    build_dataset(DataConfig(), tmp_path / "out")
    assert Dataset.open(tmp_path / "out").name == "digits"


def test_an_interrupt_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(DataConfig(), tmp_path / "runs" / "out", stop)
    assert not list((tmp_path / "runs").iterdir())
