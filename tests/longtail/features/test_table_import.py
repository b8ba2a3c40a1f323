import json

import numpy as np
import pytest

from longtail.artifacts import open_artifact
from longtail.config import TableConfig
from longtail.data.imbalance import subset_sha256
from longtail.data.table_files import table_digest
from longtail.errors import InputError
from longtail.features import Features, table
from longtail.features.table_import import import_table


@pytest.fixture
def rows():
    """Forty rows of three features on very different scales, the last one constant, and their classes and splits."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)) * [1, 1000, 0] + [0, 1e6, 0.1]
    labels = np.repeat([0, 1, 2], [25, 10, 5])[random.permutation(40)]
    return x.astype(np.float32), labels, np.array(["train", "test", "train", "validation"] * 10)


@pytest.fixture
def path(write_table, lists, rows):
    x, labels, splits = rows
    return write_table({"features": lists(x), "label": labels, "split": list(splits)}, row_group_size=7)


def test_every_split_is_written_as_it_is(path, rows, tmp_path):
    x, labels, splits = rows
    fields = import_table(TableConfig(path=str(path)), tmp_path / "out")
    features = Features.open(tmp_path / "out")
    for split in ("train", "validation", "test"):
        ids = np.flatnonzero(splits == split)
        np.testing.assert_array_equal(features.split(split), x[ids])
        np.testing.assert_array_equal(features.labels(split), labels[ids])
        np.testing.assert_array_equal(np.load(tmp_path / "out" / split / "ids.npy"), ids)
        assert fields["splits"][split] == len(ids)
    train = np.flatnonzero(splits == "train")
    assert (features.class_names, features.views) == (("0", "1", "2"), 0)
    assert features.train_counts.tolist() == np.bincount(labels[train]).tolist()
    assert features.dataset_digest == table_digest(TableConfig(path=str(path)))
    assert features.subset_sha256 == subset_sha256(train)
    np.testing.assert_array_equal(features.example(), x[train[:2]])
    assert features.scaling() is None
    assert (features.split("train").dtype, features.labels("train").dtype) == (np.float32, np.int64)


def test_standard_scaling_is_that_of_the_training_rows(path, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "BLOCK_VALUES", 6)  # two rows, so that many blocks are merged
    x, _, splits = rows
    import_table(TableConfig(path=str(path), scaling="standard"), tmp_path / "out")
    features = Features.open(tmp_path / "out")
    train = x[splits == "train"].astype(np.float64)
    shift, deviation = features.scaling()
    np.testing.assert_allclose(shift, train.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(deviation[:2], train.std(axis=0)[:2], rtol=1e-5)
    assert deviation[2] == 1  # of the constant feature
    np.testing.assert_allclose(features.train().mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(features.train().std(axis=0), [1, 1, 0], atol=1e-3)
    np.testing.assert_array_equal(features.split("test"), (x[splits == "test"] - shift) / deviation)
    np.testing.assert_array_equal(features.example(), x[splits == "train"][:2])


def test_the_same_table_and_seed_give_the_same_bytes(path, tmp_path):
    config = TableConfig(path=str(path), split_column="", feature_columns=("features",))
    for name in ("one", "two"):
        import_table(config, tmp_path / name)
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["held_out"]
    import_table(
        TableConfig(path=str(path), split_column="", feature_columns=("features",), split_seed=1), tmp_path / "b"
    )
    assert (tmp_path / "b" / "test" / "ids.npy").read_bytes() != (tmp_path / "one" / "test" / "ids.npy").read_bytes()


def test_progress_goes_over_all_rows(path, tmp_path):
    seen = []
    import_table(TableConfig(path=str(path)), tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    assert seen == sorted(seen)


def test_a_bad_row_leaves_nothing(write_table, tmp_path):
    path = write_table({"x": [0.0, 1.0, 2.0, np.nan], "label": [0, 1, 0, 1]})
    with pytest.raises(InputError, match=r"^table.parquet row 3 has nan in x"):
        import_table(TableConfig(path=str(path)), tmp_path / "out" / "features")
    assert not list((tmp_path / "out").iterdir())


def test_a_digest_stands_for_every_file(path, tmp_path):
    import_table(TableConfig(path=str(path), scaling="standard"), tmp_path / "out")
    manifest = open_artifact(tmp_path / "out", "longtail.features", 1)
    assert {"example.npy", "scaling.npy", "train/view-0.npy", "test/labels.npy"} <= set(manifest["files"])
    with (tmp_path / "out" / "scaling.npy").open("rb+") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(InputError, match=r"scaling.npy does not match its digest"):
        Features.open(tmp_path / "out")
