from longtail.features import Features


def test_merged_features_are_whole(call, artifacts, tmp_path):
    config = {"shards": 2, "views": 0}
    parts = [call("feature_shard", tmp_path / str(i), artifacts, config, method=str(i)) for i in range(2)]
    given = {"feature_shards": [part.outputs["feature_shard"] for part in parts]}
    done = call("feature_merge", tmp_path / "merged", given, config)
    assert done.described == {"features": {"views": 0}}
    features, whole = Features.open(done.outputs["features"]), Features.open(artifacts["features"])
    assert (features.split("test") == whole.split("test")).all()
    assert len(features.train()) == len(whole.train())
