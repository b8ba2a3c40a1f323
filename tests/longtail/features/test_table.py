import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.config import TableConfig
from longtail.errors import InputError
from longtail.features import table
from longtail.features.table import FeatureTable


def rows_of(found, split):
    return np.concatenate([np.empty((0, found.size)), *found.blocks(split)])


def open_table(path, **config):
    return FeatureTable.open(TableConfig(path=str(path), **config))


@pytest.fixture
def numbered(write_table, lists):
    """Ten rows with features (row, -row) of three classes and three splits in two files."""
    x = np.stack([np.arange(10.0), -np.arange(10.0)], axis=1)
    labels = ["b", "a", "c", "a", "b", "a", "c", "b", "a", "c"]
    splits = ["train", "train", "train", "test", "train", "validation", "train", "test", "test", "test"]
    for name, part in (("2.parquet", slice(7, 10)), ("1.parquet", slice(0, 7))):
        columns = {"features": lists(x[part], "list"), "label": labels[part], "split": splits[part]}
        path = write_table(columns, f"numbered/{name}")
    return path.parent


def test_rows_are_counted_through_the_files(numbered):
    found = open_table(numbered)
    assert (found.class_names, found.size, found.held_out) == (("a", "b", "c"), 2, False)
    assert found.labels.tolist() == [1, 0, 2, 0, 1, 0, 2, 1, 0, 2]
    expected = {"train": [0, 1, 2, 4, 6], "validation": [5], "test": [3, 7, 8, 9]}
    for split, rows in expected.items():
        assert found.rows(split).tolist() == rows
        assert rows_of(found, split)[:, 0].tolist() == rows
        assert rows_of(found, split)[:, 1].tolist() == [-row for row in rows]


def test_blocks_may_be_smaller_than_row_groups(numbered, monkeypatch):
    whole = [rows_of(open_table(numbered), split) for split in table.SPLITS]
    monkeypatch.setattr(table, "BLOCK_VALUES", 4)
    monkeypatch.setattr(table, "KEY_ROWS", 2)
    found = open_table(numbered)
    assert max(len(block) for block in found.blocks("train")) <= 2
    for split, rows in zip(table.SPLITS, whole, strict=True):
        np.testing.assert_array_equal(rows_of(found, split), rows)


def test_columns_come_in_the_order_that_is_asked_for(write_table):
    path = write_table({"x": [1.0, 2, 3, 4], "label": [0, 0, 1, 1], "y": [5.0, 6, 7, 8]})
    found = open_table(path, feature_columns=("y", "x"))
    assert {tuple(row) for split in ("train", "test") for row in rows_of(found, split)} == {
        (5, 1),
        (6, 2),
        (7, 3),
        (8, 4),
    }


def test_row_groups_without_rows_of_a_split_are_not_read(numbered, monkeypatch):
    found, read = open_table(numbered), []
    real = table._read
    monkeypatch.setattr(
        table, "_read", lambda file, name, group, *rest: (read.append((name, group)), real(file, name, group, *rest))[1]
    )
    rows_of(found, "validation")
    assert read == [("1.parquet", 1)]


def test_a_share_of_each_class_is_held_out(write_table):
    labels = np.repeat([30, 10, 20, 40], [50, 10, 2, 1])
    path = write_table({"x": np.arange(63.0), "label": labels}, row_group_size=20)
    found, again = open_table(path), open_table(path)
    assert found.held_out
    held = [np.sum(found.labels[found.rows("test")] == label) for label in range(4)]
    assert (found.class_names, held) == (("10", "20", "30", "40"), [2, 1, 10, 0])
    np.testing.assert_array_equal(found.splits, again.splits)
    other = open_table(path, split_seed=1)
    assert not np.array_equal(found.splits, other.splits)
    assert len(other.rows("test")) == len(found.rows("test"))
    wide = open_table(path, test_share=0.9)
    assert np.bincount(wide.labels[wide.rows("train")]).tolist() == [1, 1, 5, 1]


def test_only_training_rows_are_held_out(write_table):
    split = ["validation"] * 10 + ["train"] * 10
    found = open_table(write_table({"x": np.arange(20.0), "label": [0, 1] * 10, "split": split}))
    assert found.rows("validation").tolist() == list(range(10))
    assert len(found.rows("test")) == 2 and found.rows("test").min() >= 10


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [], "label": []}, "has no rows: give some of each class"),
        ({"x": [1.0], "label": [1], "split": ["test"]}, "has no rows for training: give some of each class"),
        ({"x": [1.0, 2.0], "label": ["a", "a"]}, "has one class to train, 'a': give rows of at least two"),
        ({"x": [1.0, 2.0], "label": ["a", "b"]}, "has one row of each class, so none can be held out"),
        ({"x": [1.0, 2.0], "label": ["a", None]}, "^table.parquet row 1 has no label"),
        (
            {"x": np.arange(5.0), "label": [1, 2, 1, 7, 7], "split": ["train", "train", "test", "test", "validation"]},
            r"^table.parquet row 3 is for test and no training row has its label 7 \(2 such rows\)",
        ),
        (
            {"x": np.arange(3.0), "label": [1, 2, 1], "split": ["train", "train", "dev"]},
            "^table.parquet row 2 has split 'dev'",
        ),
    ],
    ids=["empty", "training", "class", "single", "label", "unknown", "split"],
)
def test_rows_that_cannot_be_used_are_named(write_table, columns, message):
    columns = {"x": pa.array(columns["x"], pa.float64()), **{key: columns[key] for key in columns if key != "x"}}
    columns["label"] = pa.array(columns["label"], pa.int64()) if columns["label"] == [] else columns["label"]
    with pytest.raises(InputError, match=message) as error:
        open_table(write_table(columns))
    assert "\n" not in str(error.value)


def test_a_row_of_a_later_file_is_named_by_its_own_number(numbered, write_table, lists):
    columns = {"features": lists(np.zeros((1, 2)), "list"), "label": ["z"], "split": ["test"]}
    write_table(columns, "numbered/3.parquet")
    with pytest.raises(InputError, match=r"^3.parquet row 0 is for test and no training row has its label 'z'"):
        open_table(numbered)


def test_features_are_checked_as_they_are_read(write_table, lists):
    x = np.zeros((8, 2), dtype=np.float32)
    x[5, 1] = np.nan
    columns = {"embedding": lists(x), "label": [0, 1] * 4, "split": ["train"] * 6 + ["test"] * 2}
    found = open_table(write_table(columns))
    assert len(rows_of(found, "test")) == 2
    with pytest.raises(InputError, match=r"^table.parquet row 5 has nan in embedding\[1\]"):
        rows_of(found, "train")


def test_rows_of_another_file_have_the_length_of_the_first(write_table, lists):
    for name, size in (("1.parquet", 3), ("2.parquet", 4)):
        write_table({"features": lists(np.zeros((4, size)), "list"), "label": [0, 0, 1, 1]}, f"two/{name}")
    found = open_table(write_table({"x": [0.0]}, "other.parquet").parent / "two")
    with pytest.raises(InputError, match=r"^2.parquet row 0 has 4 features, the first row 3: give every row 3"):
        rows_of(found, "train")


def test_a_file_that_is_not_parquet_or_is_cut(write_table, tmp_path):
    (tmp_path / "text.parquet").write_text("x,label\n1,2\n")
    with pytest.raises(InputError, match=r"text.parquet is not a whole Parquet file"):
        open_table(tmp_path / "text.parquet")
    path = write_table({"x": np.random.default_rng(0).normal(size=2000), "label": [0, 1] * 1000}, row_group_size=500)
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^table.parquet row group 0 cannot be read \(.*\): write the file again$"):
        rows_of(open_table(path), "train")


def test_a_row_group_of_any_size_is_read_in_parts(tmp_path, lists, monkeypatch):
    """A file of one row group is never whole in memory."""
    monkeypatch.setattr(table, "BLOCK_VALUES", 2**18)
    x = np.random.default_rng(0).normal(size=(30_000, 256)).astype(np.float32)
    columns = {"features": lists(x), "label": pa.array([0, 1] * 15_000), "split": ["train"] * 29_998 + ["test"] * 2}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet", row_group_size=len(x))
    del columns
    found, pool, done = open_table(tmp_path / "table.parquet"), pa.default_memory_pool(), 0
    before, most = pool.bytes_allocated(), 0
    for block in found.blocks("train"):
        most = max(most, pool.bytes_allocated() - before)
        np.testing.assert_array_equal(block, x[done : done + len(block)])
        done += len(block)
    assert done == 29_998
    assert most < x.nbytes / 2
