import json
from pathlib import Path

import pytest


@pytest.fixture
def tracked(chain, monkeypatch):
    """The database that the chain was tracked to, to which this process tracks too."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{Path(chain['evaluation']['results'].path).parents[1] / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    return MlflowClient(uri)


def _content(made):
    return json.loads((Path(made["gate"].path) / "gate.json").read_text())


def test_models_of_the_chain_are_registered_one_after_another(call, inputs, tracked, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    config = {"model": "fish", "bootstrap": True, "overall_fall": 100.0}
    first = call("promotion", tmp_path / "first", inputs("promotion"), config | {"method": "baseline"})
    assert _content(first)["promoted"] and first["gate"].metadata["sentence"] == _content(first)["sentence"]
    second = _content(call("promotion", tmp_path / "second", inputs("promotion"), config))
    assert second["decision"]["champion"] == "fish/1" and second["decision"]["criteria"][0]["passed"]
    versions = {int(one.version): one for one in tracked.search_model_versions("name = 'fish'")}
    assert {number: one.tags["method"] for number, one in versions.items()} == {1: "baseline", 2: "tailcalib"}
    assert versions[1].tags["config_digest"] != versions[2].tags["config_digest"]
    assert {"trace", "top_eigenvalue", "head_trace"} <= set(versions[1].tags)


def test_without_tracking_nothing_is_registered_and_the_page_says_so(call, inputs, tmp_path):
    made = call("promotion", tmp_path, inputs("promotion"), {"model": "bird"})
    assert "Nothing was registered as bird" in _content(made)["sentence"]
    assert "Nothing was registered as bird" in Path(made["report"].path).read_text()


def test_a_name_that_no_model_can_have_is_refused(call, inputs, refuses, tmp_path):
    line = refuses(lambda: call("promotion", tmp_path, inputs("promotion"), {"model": "a b"}), tmp_path)
    assert "promotion.model is 'a b'" in line
