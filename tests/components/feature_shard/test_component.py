from pathlib import Path

import numpy as np
import pytest

from longtail.artifacts import open_artifact

CONFIG = {"views": 1.0, "shards": 3.0, "batch_size": 100.0}


def test_a_shard_holds_its_part_of_every_split(call, inputs, tmp_path):
    artifact = call("feature_shard", tmp_path / "1", inputs("feature_shard"), CONFIG, shard=1.0)["feature_shard"]
    manifest = open_artifact(Path(artifact.path), "longtail.shard", 2)
    assert manifest["shard"] == [1, 3]
    rows = np.load(Path(artifact.path) / "train" / "ids.npy")
    assert 0 < len(rows) <= 200
    assert np.load(Path(artifact.path) / "train" / "view-1.npy").shape[0] == len(rows)
    assert artifact.metadata["views"] == 1
    assert "feature_shard/1" in artifact.metadata["lineage"]


@pytest.mark.parametrize("shard", [3, -1])
def test_a_shard_that_is_none_is_refused(call, inputs, refuses, tmp_path, shard):
    line = refuses(lambda: call("feature_shard", tmp_path, inputs("feature_shard"), CONFIG, shard=shard), tmp_path)
    assert line == f"error: shard {shard} is none of features.shards=3: compile the pipeline again"
