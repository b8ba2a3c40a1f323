import contextlib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from mlflow.exceptions import MlflowException

from longtail.errors import InputError
from longtail.tracking.retraining import claim, note_run, withdraw
from longtail.tracking.server import connect

DAY = 86400.0


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def client(database, monkeypatch):
    """A tracking database with a registered model and one version, trained on the content `old`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    client = connect(database)
    with contextlib.suppress(MlflowException):
        client.delete_registered_model("digits")
    client.create_registered_model("digits")
    client.create_model_version("digits", "somewhere", tags={"source_digest": "old"})
    return client


def tags(client):
    return client.get_registered_model("digits").tags


def test_of_many_who_ask_at_once_one_may_start(client):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(claim("digits", "new", "why", cooldown=DAY))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.allowed for answer in answers) == [False, False, False, True]
    assert all("cooldown is 24.0 h" in answer.sentence for answer in answers if not answer.allowed)


def test_state_is_in_the_models_tags(client):
    assert claim("digits", "new", "The classes changed.", cooldown=DAY).allowed
    note_run("digits", "r-1")
    found = tags(client)
    assert (found["retraining.digest"], found["retraining.reason"]) == ("new", "The classes changed.")
    assert datetime.now(UTC) - datetime.fromisoformat(found["retraining.started_at"]) < timedelta(minutes=1)
    assert "(run r-1)" in claim("digits", "newer", "why", cooldown=DAY).sentence


def test_after_the_cooldown_there_is_another(client):
    claim("digits", "new", "why", cooldown=DAY)
    before = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    client.set_registered_model_tag("digits", "retraining.started_at", before)
    assert claim("digits", "new", "why", cooldown=DAY).allowed


def test_a_failed_run_lets_the_next_trigger_try_again_at_once(client):
    claim("digits", "new", "why", cooldown=DAY)
    note_run("digits", "r-1")
    withdraw("digits")
    assert tags(client)["retraining.run"] == "r-1"
    assert claim("digits", "new", "why", cooldown=DAY).allowed


def test_content_that_the_gate_has_judged_is_not_trained_on_again_unless_forced(client):
    answer = claim("digits", "old", "why", cooldown=0)
    assert not answer.allowed
    assert "digits/1" in answer.sentence
    assert claim("digits", "old", "why", cooldown=DAY, force=True).allowed


def test_a_run_that_asks_again_is_told_the_same(client):
    assert claim("digits", "new", "why", cooldown=DAY, run="r-1").allowed
    assert claim("digits", "new", "why", cooldown=DAY, run="r-1").allowed
    assert not claim("digits", "new", "why", cooldown=DAY, run="r-2").allowed


def test_a_model_that_is_not_there_is_named(client):
    with pytest.raises(InputError, match="'letters'"):
        claim("letters", "new", "why", cooldown=DAY)
