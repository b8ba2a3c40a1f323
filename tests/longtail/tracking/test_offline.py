import pytest

from longtail.errors import InputError
from longtail.tracking.identity import Identity
from longtail.tracking.offline import IDENTITY, Belonging, OfflineStore, belonging, hold, stores_folder


def test_a_store_says_what_it_belongs_to_and_is_held(tracking, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:1")
    store = OfflineStore(belonging(Identity("train", "key"), ends=True))
    assert store.path.parent == stores_folder() == tmp_path / "offline"
    kept = Belonging.read(store.path)
    assert (kept.identity.name, kept.identity.key, kept.ends, kept.experiment) == ("train", "key", True, "mine")
    assert kept.run_id == store.run_id
    assert store.client.get_run(store.run_id).info.status == "RUNNING"
    assert hold(store.path) is None
    assert "hunter2" not in (store.path / IDENTITY).read_text()


def test_stores_lie_where_checkpoints_do(clean_environment, monkeypatch, tmp_path):
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", str(tmp_path / "volume"))
    assert stores_folder() == tmp_path / "volume" / "offline"
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://bucket/checkpoints")
    assert stores_folder() == tmp_path / "home" / "offline"


@pytest.mark.parametrize("content", ['{"identity": {"nonsense": 1}}', "{}", "[]", "not JSON"])
def test_a_store_that_names_no_run_is_one_line(tmp_path, content):
    (tmp_path / IDENTITY).write_text(content)
    with pytest.raises(InputError) as caught:
        Belonging.read(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
