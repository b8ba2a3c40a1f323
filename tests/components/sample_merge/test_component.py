from pathlib import Path

from longtail.artifacts import artifact_digest

CONFIG = {"shards": 2.0}


def test_merged_shards_are_what_calibrated_sampling_writes(call, chain, inputs, tmp_path):
    given = inputs("sample_shard")
    parts = [call("sample_shard", tmp_path / str(i), given, CONFIG, shard=i)["sample_shard"] for i in range(2)]
    wanted = {"features": given["features"], "sample_shards": parts}
    made = call("sample_merge", tmp_path / "merged", wanted, CONFIG)
    whole = chain["calibrated_sampling"]["samples"]
    assert artifact_digest(Path(made["samples"].path)) == artifact_digest(Path(whole.path))
    assert {"sample_shard/0", "sample_shard/1", "backbone_training"} <= set(made["samples"].metadata["lineage"])
    assert "features generated beside" in Path(made["report"].path).read_text()


def test_a_lost_shard_is_refused(call, inputs, refuses, tmp_path):
    given = inputs("sample_shard")
    part = call("sample_shard", tmp_path / "1", given, CONFIG, shard=1)["sample_shard"]
    out = tmp_path / "merged"
    wanted = {"features": given["features"], "sample_shards": [part]}
    line = refuses(lambda: call("sample_merge", out, wanted, CONFIG), out)
    assert line == "error: the shards are 1 of 2: give each of 0 to 1 of 2 once, of the same run"
