import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.config import DataConfig
from longtail.data import parquet
from longtail.data.parquet import load
from longtail.errors import InputError


def config(path, **settings):
    return DataConfig(source="parquet", path=str(path), **settings)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("cache_bytes", [1, 2**28])
def test_reads_any_row_of_several_files_and_row_groups(parquet_folder, pixels, plain, cache_bytes, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", cache_bytes)
    source = load(config(parquet_folder(plain=plain)))
    assert source.name == "toy"
    assert source.train.labels.tolist() == [0, 1, 2] * 6
    for i in (17, 0, 3, 4, 8, 9, 10, 16):
        assert np.array_equal(source.train.read(i), pixels(5000 + i, 8, 8, 3))
    assert np.array_equal(source.test.read(5), pixels(4005, 8, 8, 3))
    assert source.train.names(8) == "train-00000-of-00002.parquet row 8"
    assert source.train.names(9) == "train-00001-of-00002.parquet row 0"


def test_class_names_from_metadata_then_text_then_numbers(parquet_folder):
    assert load(config(parquet_folder(folder="a", names=["x", "y", "z"]))).class_names == ("x", "y", "z")
    folder = parquet_folder(folder="b")
    assert load(config(folder)).class_names == ("0", "1", "2")
    (folder / "fine_labels.txt").write_text("p\nq\nr")
    assert load(config(folder)).class_names == ("p", "q", "r")


def test_files_may_lie_in_data_and_validation_stands_for_test(parquet_folder):
    folder = parquet_folder(folder="set/data", splits=("train", "validation"), files=1)
    (folder.parent / "fine_labels.txt").write_text("p\nq\nr\n")
    source = load(config(folder.parent))
    assert (source.name, source.class_names, len(source.test.labels)) == ("set", ("p", "q", "r"), 6)


def test_without_test_files_there_is_no_test_split(parquet_folder):
    folder = parquet_folder()
    for file in folder.glob("test*"):
        file.unlink()
    source = load(config(folder))
    assert (len(source.train.labels), source.test) == (18, None)
    for file in folder.glob("train*"):
        file.rename(file.with_name(file.name.replace("train", "test")))
    with pytest.raises(InputError, match=r"holds no train\*.parquet"):
        load(config(folder))


@pytest.mark.parametrize("column", ["label", "labels"])
def test_takes_another_customary_label_column(parquet_folder, column):
    folder = parquet_folder(column=column)
    (folder / "labels.txt").write_text("p\nq\nr\n")
    assert load(config(folder)).class_names == ("p", "q", "r")


def test_takes_another_customary_image_column(parquet_folder):
    folder = parquet_folder(train=2, files=1)
    for file in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(file).rename_columns(["image", "label"]), file)
    assert load(config(folder)).train.read(0).shape == (8, 8, 3)
    for file in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(file).rename_columns(["photo", "label"]), file)
    with pytest.raises(InputError, match=r"no column 'img': set data.image_column to one of photo, label"):
        load(config(folder))


def test_missing_columns_name_those_there_are(parquet_folder):
    folder = parquet_folder()
    with pytest.raises(InputError, match=r"no column 'image': set data.image_column to one of img, fine_label"):
        load(config(folder, image_column="image"))
    with pytest.raises(InputError, match=r"no column 'coarse': set data.label_column to one of img, fine_label"):
        load(config(folder, label_column="coarse"))
    with pytest.raises(InputError, match=r"no column 'fine_label': set data.label_column to one of img, kind"):
        load(config(parquet_folder(folder="other", column="kind")))


def test_columns_of_the_wrong_type(parquet_folder):
    folder = parquet_folder()
    with pytest.raises(InputError, match=r"'fine_label' is int64: data.image_column must hold"):
        load(config(folder, image_column="fine_label"))
    with pytest.raises(InputError, match=r"data.label_column must hold whole numbers"):
        load(config(folder, label_column="img"))


def test_null_labels_and_images(parquet_folder):
    def edit(split, images, labels):
        if split == "train":
            labels[4] = None
            images[5] = None

    source = load(config(parquet_folder(edit=edit, names=list("xyz"))))
    assert source.train.labels[4] == -1
    with pytest.raises(InputError, match="no image bytes"):
        source.train.read(5)


def test_an_absurd_label_does_not_make_a_class(parquet_folder):
    folder = parquet_folder(edit=lambda split, images, labels: labels.__setitem__(0, 10**12))
    with pytest.raises(InputError, match=r"label 1000000000000 among 18 training images"):
        load(config(folder))


def test_files_that_are_missing_or_cut(parquet_folder, tmp_path):
    with pytest.raises(InputError, match=r"holds no train\*.parquet"):
        load(config(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"data.path is ''"):
        load(config(""))
    file = parquet_folder() / "train-00001-of-00002.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"train-00001-of-00002.parquet is not a whole Parquet file"):
        load(config(file.parent))


def test_reading_keeps_few_row_groups_in_memory(parquet_folder, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", 2000)
    rows = load(config(parquet_folder(train=60))).train.read.__self__
    for i in range(180):
        rows.read(i)
    assert 1 <= len(rows._cache) <= 3


def test_other_files_are_left_alone(parquet_folder):
    folder = parquet_folder()
    pq.write_table(pa.table({"x": [1]}), folder / "validation.parquet")
    pq.write_table(pa.table({"x": [1]}), folder / "extra.parquet")
    assert [name[:5] for name in parquet.list_files(str(folder))] == ["test-", "test-", "train", "train"]
