import pytest

from longtail.artifacts import artifact_digest
from longtail.errors import InputError
from longtail.steps.execution import child_seed


def test_shards_draw_what_calibrated_sampling_draws(call, artifacts, tmp_path):
    """Their own names would give each another child of the pipeline's seed."""
    parts = [
        call("sample_shard", tmp_path / str(index), artifacts, {"shards": 2}, seed=7, method=str(index))
        for index in range(2)
    ]
    given = artifacts | {"sample_shards": [part.outputs["sample_shard"] for part in parts]}
    merged = call("sample_merge", tmp_path / "merged", given, {"shards": 2}, seed=7)
    whole = call("calibrated_sampling", tmp_path / "whole", artifacts, seed=child_seed(7, "calibrated_sampling"))
    assert artifact_digest(merged.outputs["samples"]) == artifact_digest(whole.outputs["samples"])
    assert merged.described == whole.described


def test_a_shard_of_another_number_of_shards_is_refused(call, artifacts, tmp_path):
    with pytest.raises(InputError, match=r"shard 2 is none of calibration.shards=2: compile the pipeline again"):
        call("sample_shard", tmp_path, artifacts, {"shards": 2}, method="2")


def test_more_neighbours_than_classes_are_refused(call, artifacts, tmp_path):
    with pytest.raises(InputError, match="n_neighbors is 11"):
        call("sample_shard", tmp_path, artifacts, {"shards": 2, "n_neighbors": 11}, method="0")
