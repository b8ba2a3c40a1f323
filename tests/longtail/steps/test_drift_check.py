import dataclasses
import json

import pytest

from longtail.artifacts import open_artifact
from longtail.config import BackboneConfig, DriftConfig, to_dict
from longtail.errors import InputError
from longtail.steps import Artifact, run_step
from longtail.steps.drift_check import champion_of, drift_of, going_on_from
from tests.registered import forget_starts, new_class, registered


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with registered(tmp_path_factory.mktemp("champion")) as found:
        yield found


@pytest.fixture
def champion(digits, monkeypatch):
    for name, value in digits.variables.items():
        monkeypatch.setenv(name, value)
    return digits


@pytest.fixture
def step(champion, tmp_path, monkeypatch):
    """Return a function that runs the step in a pipeline's run, and returns its metadata and the comparison."""
    forget_starts(champion.client)

    def run(pipeline_run="r-1", **changes):
        monkeypatch.setenv("KFP_RUN_ID", pipeline_run)
        outputs = {name: Artifact(str(tmp_path / name)) for name in ("drift", "report")}
        config = {"model": "digits", "data": to_dict(champion.data), **changes}
        run_step("drift_check", config=config, inputs={}, outputs=outputs)
        open_artifact(tmp_path / "drift", "longtail.drift", 1)
        assert "<h1>Is digits/1" in (tmp_path / "report").read_text()
        return outputs["drift"].metadata, json.loads((tmp_path / "drift" / "drift.json").read_text())

    return run


def test_equal_content_needs_no_training(step, champion):
    metadata, drift = step()
    assert not metadata["needed"]
    assert not drift["needed"]
    assert metadata["data_digest"] == drift["digest_then"]
    assert "retraining.started_at" not in champion.client.get_registered_model("digits").tags


def test_a_reason_is_claimed_by_one_run_and_says_what_to_start_from(step, champion):
    with new_class(champion.source):
        metadata, _ = step()
        assert metadata["needed"]
        assert metadata["backbone"]["weights"] == "models:/digits/1"
        assert champion.client.get_registered_model("digits").tags["retraining.run"] == "r-1"
        assert step()[0]["needed"]  # the step's second attempt
        other, drift = step("r-2")
        assert drift["needed"]
        assert not other["needed"]
        assert "cooldown" in other["sentence"]
        assert step("r-2", cooldown=0, from_scratch=True)[0]["backbone"]["weights"] == ""


def test_a_model_without_a_champion(champion):
    with pytest.raises(InputError, match=r"promotion\.bootstrap=true"):
        champion_of("nothing")


def test_an_unknown_digest_is_compared(champion):
    version = dataclasses.replace(champion_of("digits"), tags={})
    drift = drift_of(version, champion.data, DriftConfig(), 0)
    assert not drift.needed
    assert drift.whole.distance == 0


def test_weights_that_do_not_fit_are_left_out(champion):
    asked = BackboneConfig(network="lenet")
    assert going_on_from(champion_of("digits"), asked, ())[0] == asked
    assert "lenet" in going_on_from(champion_of("digits"), asked, ())[1]
