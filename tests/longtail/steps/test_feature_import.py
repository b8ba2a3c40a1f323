from unittest.mock import create_autospec

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.features import Features
from longtail.tracking.recording import Run


def test_the_page_and_the_run_tell_of_the_rows(call, table, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("feature_import", tmp_path, {}, {"path": str(table)}, run=run)
    features = Features.open(done.outputs["features"])
    counts = features.train_counts
    described = dict(done.described["features"])
    data = described.pop("data")
    assert described == {"subset_sha256": features.subset_sha256, "train_rows": counts.sum(), "classes": 10}
    assert data["name"] == "features" and set(data["splits"]) == {"train", "test"}
    page = done.outputs["report"].read_text(encoding="utf-8")
    assert f"{counts.sum():,} training rows of 64 features in 10 classes" in page
    assert f"{len(features.labels('test'))} test rows, held out of each class" in page
    assert page.count("<img") == 1 and features.subset_sha256 in page
    metrics = {"train_rows": counts.sum(), "largest_class": counts.max(), "smallest_class": counts.min()}
    run.log_metrics.assert_called_once_with({f"data/{name}": value for name, value in metrics.items()})
    assert run.log_figure.call_args.args[1] == "class_counts.png"


def test_what_is_held_out_is_not_trained_on(call, table, tmp_path):
    features = Features.open(call("feature_import", tmp_path, {}, {"path": str(table)}).outputs["features"])
    ids = [np.load(features.path / split / "ids.npy") for split in ("train", "test")]
    assert np.array_equal(np.sort(np.concatenate(ids)), np.arange(sum(map(len, ids))))
    assert np.bincount(features.labels("test")).tolist() == [35, 32, 28, 24, 20, 17, 13, 9, 5, 1]


def test_bad_input_leaves_nothing(call, table, tmp_path):
    with pytest.raises(InputError, match=r"digits.parquet has no column 'species': set table.label_column to one of"):
        call("feature_import", tmp_path / "out", {}, {"path": str(table), "label_column": "species"})
    assert not list((tmp_path / "out").iterdir())
