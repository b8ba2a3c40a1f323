import os

import pytest

from longtail.config import DataConfig
from longtail.data import digest
from longtail.data.digest import file_digests, source_digest
from longtail.errors import InputError


def folder_config(path):
    return DataConfig(source="imagefolder", path=str(path))


def age(folder):
    """Make files old enough to be remembered."""
    for file in folder.rglob("*"):
        os.utime(file, (1e9, 1e9))


@pytest.fixture
def reads(monkeypatch):
    """Record which files are read."""
    read = []
    real = digest.sha256_file

    def record(path):
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(digest, "sha256_file", record)
    return read


def test_one_changed_byte_changes_it_and_a_touch_does_not(image_folder):
    root = image_folder()
    before = source_digest(folder_config(root))
    age(root)
    assert source_digest(folder_config(root)) == before
    file = root / "train" / "dog" / "3.png"
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    changed = source_digest(folder_config(root))
    assert changed != before
    file.rename(file.with_name("33.png"))
    assert source_digest(folder_config(root)) not in (before, changed)


def test_does_not_depend_on_where_the_folder_lies(image_folder, tmp_path):
    root = image_folder()
    before = source_digest(folder_config(root))
    root.rename(tmp_path / "moved")
    assert source_digest(folder_config(tmp_path / "moved")) == before


def test_files_are_read_once(image_folder, reads):
    root = image_folder()
    age(root)
    before = source_digest(folder_config(root))
    assert len(reads) == 16
    assert source_digest(folder_config(root)) == before
    assert len(reads) == 16
    os.utime(root / "train" / "cat" / "0.png", (1e9 + 5, 1e9 + 5))
    assert source_digest(folder_config(root)) == before
    assert reads[16:] == ["0.png"]


def test_a_file_that_may_still_change_is_read_again(tmp_path, reads):
    (tmp_path / "new").write_bytes(b"x")
    assert file_digests([tmp_path / "new"]) == file_digests([tmp_path / "new"])
    assert reads == ["new", "new"]


def test_a_corrupt_memory_is_replaced(image_folder, cache, reads):
    root = image_folder()
    age(root)
    before = source_digest(folder_config(root))
    (cache / "digests.sqlite").write_bytes(b"not a database" * 100)
    assert source_digest(folder_config(root)) == before
    assert source_digest(folder_config(root)) == before
    assert len(reads) == 32


def test_an_unusable_cache_folder_only_costs_time(image_folder, tmp_path, monkeypatch):
    root = image_folder()
    before = source_digest(folder_config(root))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert source_digest(folder_config(root)) == before


def test_parquet_counts_its_splits_and_names(parquet_folder):
    folder = parquet_folder()
    config = DataConfig(source="parquet", path=str(folder))
    before = source_digest(config)
    (folder / "extra.parquet").write_bytes(b"")
    assert source_digest(config) == before
    (folder / "fine_labels.txt").write_text("p\nq\nr\n")
    assert source_digest(config) != before


def test_class_folders_alone(class_folder):
    root = class_folder(cat=2, dog=1)
    before = source_digest(folder_config(root))
    (root / "dog" / "0.png").unlink()
    assert source_digest(folder_config(root)) != before


def test_mini_imagenet_counts_the_classes_that_are_listed(imagenet_folder):
    root = imagenet_folder(per_class=2)
    config = DataConfig(source="mini_imagenet", path=str(root))
    every = source_digest(config)
    (root / "classes.txt").write_text("n01532829\n")
    listed = source_digest(config)
    assert listed != every
    (root / "n01533829_0.JPEG").unlink()
    assert source_digest(config) == listed


def test_digits_and_cifar(tmp_path):
    digests = {source_digest(DataConfig()), source_digest(DataConfig(seed=5))}
    assert len(digests) == 1
    config = DataConfig(source="cifar10", path=str(tmp_path))
    absent = source_digest(config)
    assert absent != source_digest(DataConfig(source="cifar100", path=str(tmp_path)))
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"x")
    assert source_digest(config) != absent


@pytest.mark.parametrize("source", ["parquet", "imagefolder", "mini_imagenet"])
def test_nothing_there(source, tmp_path):
    with pytest.raises(InputError, match=f"holds no files of a data.source={source}"):
        source_digest(DataConfig(source=source, path=str(tmp_path)))
