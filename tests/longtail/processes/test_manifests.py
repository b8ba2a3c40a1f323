import pytest

from longtail.processes.manifests import manifest

POD = {"spec": {"containers": [{"name": "step", "image": "i", "env": [{"name": "A", "value": "1"}]}]}}


def test_the_clusters_runtime_can_be_named(monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRAINING_RUNTIME", "ours")
    assert manifest("trainjob", "n", 3, ["x"], POD, {})["spec"]["runtimeRef"] == {"name": "ours"}


@pytest.mark.parametrize("launcher", ["trainjob", "pytorchjob"])
def test_given_variables_win(launcher):
    text = str(manifest(launcher, "n", 3, ["x"], POD, {"A": "2"}))
    assert "'value': '2'" in text and "'value': '1'" not in text
