import boto3
import pytest
from moto import mock_aws

from longtail.artifacts import new_artifact, open_artifact
from longtail.processes import handover


@pytest.fixture
def bucket(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"


def test_an_artifact_is_given_once_and_taken(bucket, tmp_path):
    with new_artifact(tmp_path / "given", "s", 1, {}) as folder:
        (folder / "x").write_text("x")
    for _ in range(2):
        handover.give(tmp_path / "given", f"{bucket}/p/given")
    handover.take(f"{bucket}/p/given", tmp_path / "taken")
    assert open_artifact(tmp_path / "taken", "s", 1)


def test_the_first_text_counts_until_it_is_forgotten(bucket):
    place = f"{bucket}/p/failure"
    assert handover.text(place) == ""
    handover.put_text(place, "first")
    handover.put_text(place, "second")
    assert handover.text(place) == "first"
    handover.forget(place)
    assert handover.text(place) == ""
