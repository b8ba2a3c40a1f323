from pathlib import Path

import numpy as np

from longtail.features import Features


def _features(outputs):
    return Features.open(Path(outputs["features"].path))


def test_metadata_names_the_rows(chain):
    artifact, features = chain["feature_import"]["features"], _features(chain["feature_import"])
    assert artifact.metadata["subset_sha256"] == features.subset_sha256
    assert artifact.metadata["train_rows"] == features.train_counts.sum() == 30
    assert features.train_counts.tolist() == [18, 9, 3]


def test_the_data_digest_is_for_the_cache_alone(call, chain, tmp_path):
    path = Path(chain["feature_import"]["features"].path).parents[1] / "table.parquet"
    same = call("feature_import", tmp_path, {}, {"path": str(path)}, data_digest="0" * 64)
    manifests = [Path(outputs["features"].path) / "manifest.json" for outputs in (same, chain["feature_import"])]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


def test_another_seed_holds_other_rows_out(call, chain, tmp_path):
    path = Path(chain["feature_import"]["features"].path).parents[1] / "table.parquet"
    other = _features(call("feature_import", tmp_path, {}, {"path": str(path), "split_seed": 1.0}))
    first = _features(chain["feature_import"])
    assert np.array_equal(other.train_counts, first.train_counts)
    assert other.subset_sha256 != first.subset_sha256


def test_a_table_that_is_not_there_is_refused(call, refuses, tmp_path):
    config = {"path": str(tmp_path / "none.parquet")}
    line = refuses(lambda: call("feature_import", tmp_path / "out", {}, config), tmp_path / "out")
    assert str(tmp_path / "none.parquet") in line
