import pytest

from longtail.errors import InputError
from longtail.steps.checkpoints import checkpoint_file, checkpoint_mirror

KEY = "0123456789abcdef" * 4
NAME = f"{KEY[:32]}.safetensors"


def test_checkpoints_are_at_home_by_themselves(tmp_path):
    assert checkpoint_file(KEY) == tmp_path / "home" / "checkpoints" / NAME
    assert checkpoint_mirror(KEY) is None


def test_checkpoints_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", str(tmp_path / "kept"))
    assert checkpoint_file(KEY) == tmp_path / "kept" / NAME
    assert checkpoint_mirror(KEY) is None


def test_checkpoints_in_a_store_are_at_home_too(tmp_path, monkeypatch, use_store):
    use_store(1)
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://bucket/checkpoints/")
    assert checkpoint_file(KEY) == tmp_path / "home" / "checkpoints" / NAME
    assert checkpoint_mirror(KEY).url == f"s3://bucket/checkpoints/{KEY[:32]}"
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://")
    with pytest.raises(InputError, match="the address of checkpoints"):
        checkpoint_mirror(KEY)
