import numpy as np
import pytest
from torchvision import datasets

from longtail.config import DataConfig
from longtail.data.torchvision_cifar import load
from longtail.errors import InputError


class FakeCifar:
    classes = ("a", "b")

    def __init__(self, root, train, download):
        self.root = root
        count = 6 if train else 4
        self.data = np.arange(count * 32 * 32 * 3, dtype=np.uint64).astype(np.uint8).reshape(count, 32, 32, 3)
        self.targets = [i % 2 for i in range(count)]


def test_takes_labels_and_pixels_from_torchvision(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "CIFAR10", FakeCifar)
    source = load(DataConfig(source="cifar10", path=str(tmp_path)))
    assert (source.name, source.class_names) == ("cifar10", ("a", "b"))
    assert source.train.labels.tolist() == [0, 1] * 3
    assert source.test.names(3) == "test image 3"
    assert np.array_equal(source.train.read(1), FakeCifar("", True, False).data[1])


def test_the_default_folder_is_the_cache(monkeypatch, cache):
    roots = []

    def record(root, train, download):
        roots.append(root)
        return FakeCifar(root, train, download)

    monkeypatch.setattr(datasets, "CIFAR100", record)
    load(DataConfig(source="cifar100"))
    assert set(roots) == {str(cache / "torchvision")}


def test_a_failing_download_is_one_line(monkeypatch, tmp_path):
    # A closed port of this machine: refused at once, and nothing leaves it.
    monkeypatch.setattr(datasets.CIFAR100, "url", "http://127.0.0.1:9/cifar-100-python.tar.gz")
    with pytest.raises(InputError, match=r"could not be downloaded .*: set data.path to the folder that holds") as e:
        load(DataConfig(source="cifar100", path=str(tmp_path)))
    assert "\n" not in str(e.value)


def test_damaged_files_are_not_unpickled(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.CIFAR100, "url", "http://127.0.0.1:9/cifar-100-python.tar.gz")
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="could not be downloaded"):
        load(DataConfig(source="cifar100", path=str(tmp_path)))


def test_only_local_folders():
    with pytest.raises(InputError, match=r"cifar10 needs a local folder"):
        load(DataConfig(source="cifar10", path="s3://bucket/x"))
