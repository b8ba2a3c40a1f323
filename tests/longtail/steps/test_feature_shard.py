import pytest

from longtail.artifacts import artifact_digest
from longtail.errors import InputError
from longtail.steps.execution import child_seed


def test_shards_draw_what_feature_extraction_draws(call, artifacts, tmp_path):
    """Their own names would give each another child of the pipeline's seed."""
    parts = [
        call("feature_shard", tmp_path / str(index), artifacts, {"shards": 2, "views": 1}, seed=7, method=str(index))
        for index in range(2)
    ]
    given = {"feature_shards": [part.outputs["feature_shard"] for part in parts]}
    merged = call("feature_merge", tmp_path / "merged", given, {"shards": 2, "views": 1})
    whole = call("feature_extraction", tmp_path / "whole", artifacts, seed=child_seed(7, "feature_extraction"))
    assert artifact_digest(merged.outputs["features"]) == artifact_digest(whole.outputs["features"])
    assert parts[0].described == {"feature_shard": {"views": 1}}


def test_a_shard_of_another_number_of_shards_is_refused(call, artifacts, tmp_path):
    with pytest.raises(InputError, match=r"shard 2 is none of features.shards=2: compile the pipeline again"):
        call("feature_shard", tmp_path, artifacts, {"shards": 2}, method="2")
