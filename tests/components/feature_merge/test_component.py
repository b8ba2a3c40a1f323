from pathlib import Path

from longtail.artifacts import artifact_digest

CONFIG = {"views": 1.0, "shards": 2.0}


def test_merged_shards_are_what_feature_extraction_writes(call, chain, inputs, tmp_path):
    parts = [
        call("feature_shard", tmp_path / str(shard), inputs("feature_shard"), CONFIG, shard=shard)["feature_shard"]
        for shard in range(2)
    ]
    merged = call("feature_merge", tmp_path / "merged", {"feature_shards": parts}, CONFIG)["features"]
    whole = chain["feature_extraction"]["features"]
    assert artifact_digest(Path(merged.path)) == artifact_digest(Path(whole.path))
    assert {"feature_shard/0", "feature_shard/1", "backbone_training"} <= set(merged.metadata["lineage"])


def test_a_lost_shard_is_refused(call, inputs, refuses, tmp_path):
    part = call("feature_shard", tmp_path / "1", inputs("feature_shard"), CONFIG, shard=1)["feature_shard"]
    out = tmp_path / "merged"
    line = refuses(lambda: call("feature_merge", out, {"feature_shards": [part]}, CONFIG), out)
    assert line == "error: the shards are 1 of 2: give each of 0 to 1 of 2 once, of the same run"
