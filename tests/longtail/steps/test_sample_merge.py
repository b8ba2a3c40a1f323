from unittest.mock import create_autospec

import pytest

from longtail.calibration.artifact import Samples
from longtail.errors import InputError
from longtail.features import Features
from longtail.tracking.recording import Run


@pytest.fixture
def given(call, artifacts, tmp_path):
    parts = [call("sample_shard", tmp_path / str(i), artifacts, {"shards": 2}, method=str(i)) for i in range(2)]
    return artifacts | {"sample_shards": [part.outputs["sample_shard"] for part in parts]}


def test_the_merge_tells_of_all(call, given, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("sample_merge", tmp_path / "merged", given, {"shards": 2}, run=run)
    samples, features = Samples.open(done.outputs["samples"]), Features.open(given["features"])
    assert samples.balanced_size == 10 * features.train_counts.max()
    page = done.outputs["report"].read_text()
    assert f"{len(samples.labels):,} features generated beside" in page and page.count("<img") == 2
    run.log_text.assert_called_once_with(page, "report.html")
    assert done.described == {"samples": {"generated": len(samples.labels)}}


def test_a_lost_shard_is_refused(call, given, tmp_path):
    with pytest.raises(InputError, match="the shards are 0 of 2: give each of 0 to 1 of 2 once"):
        call("sample_merge", tmp_path / "merged", given | {"sample_shards": given["sample_shards"][:1]}, {"shards": 2})
    assert not (tmp_path / "merged" / "samples").exists()
