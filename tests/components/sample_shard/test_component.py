from pathlib import Path

import numpy as np
import pytest

from longtail.artifacts import open_artifact

CONFIG = {"shards": 3.0}


def test_the_shards_hold_all_rows_once(call, chain, inputs, tmp_path):
    given = inputs("sample_shard")
    made = [call("sample_shard", tmp_path / str(i), given, CONFIG, shard=float(i))["sample_shard"] for i in range(3)]
    assert [open_artifact(Path(part.path), "longtail.shard", 2)["shard"] for part in made] == [[0, 3], [1, 3], [2, 3]]
    rows = np.concatenate([np.load(Path(part.path) / "rows.npy") for part in made])
    whole = np.load(Path(chain["calibrated_sampling"]["samples"].path) / "rows.npy")
    np.testing.assert_array_equal(rows, whole)
    assert "sample_shard/2" in made[2].metadata["lineage"]


@pytest.mark.parametrize("shard", [3, -1])
def test_a_shard_that_is_none_is_refused(call, inputs, refuses, tmp_path, shard):
    line = refuses(lambda: call("sample_shard", tmp_path, inputs("sample_shard"), CONFIG, shard=shard), tmp_path)
    assert line == f"error: shard {shard} is none of calibration.shards=3: compile the pipeline again"
