import threading

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.gate import Scores
from longtail.tracking import registry
from longtail.tracking.registry import by_alias, champion, keep_scores, kept_scores, numbered, versions
from longtail.tracking.server import connect

SCORES = Scores(np.array([0, 1]), np.array([0, 0]), ("a", "b"), ("many", "few"), "d" * 64)


def test_a_version_says_what_it_is_and_is_the_challenger(tracking, registered):
    made = registered(tracking, trace="2.5", head_trace="-1.0")
    found = tracking.get_model_version("fish", "1")
    assert (made.label, made.uri, made.run_id) == ("fish/1", found.source, found.run_id)
    assert found.description == "A model." and found.tags["method"] == "x"
    assert by_alias(tracking, "fish", "challenger") == numbered(tracking, "fish", 1) and made.number == 1
    assert made.curvature == {"trace": 2.5, "head_trace": -1.0}
    assert champion(tracking, "fish") is None and champion(tracking, "bird") is None


def test_the_same_model_again_is_the_same_version(tracking, registered):
    assert [registered(tracking, seed=seed).number for seed in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert by_alias(tracking, "fish", "challenger").number == 2
    assert registered(tracking, seed=1, git_commit="y").number == 3
    assert [version.number for version in versions(tracking, "fish", git_commit="x")] == [1, 2]


def test_two_that_register_the_same_at_the_same_moment_make_one_version(tracking, registered):
    registered(tracking, seed=0)
    found = []
    threads = [threading.Thread(target=lambda: found.append(registered(tracking).number)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2, 2, 2]


def test_the_version_can_be_loaded_from_where_its_model_is(tracking, registered):
    made = registered(tracking)
    model = tracking.get_logged_model(made.uri.removeprefix("models:/"))
    assert tracking.get_model_version_download_uri("fish", "1") == model.artifact_location


def test_a_version_that_is_not_there_is_bad_input(tracking, registered):
    registered(tracking)
    with pytest.raises(InputError, match="fish has no version 7: choose from 1"):
        numbered(tracking, "fish", 7)
    with pytest.raises(InputError, match="bird has no version 1: it has no versions"):
        numbered(tracking, "bird", 1)


@pytest.mark.parametrize("name", ["", "a b", "fish.lock", "-x", "x'y", "x" * 101])
def test_names_that_would_break_a_filter_or_a_lock_are_refused(name):
    with pytest.raises(InputError, match=r"^promotion.model is "):
        registry.check_name(name)


def test_predictions_are_kept_by_held_out_set(tracking, registered):
    made = registered(tracking)
    assert kept_scores(tracking, made, SCORES.test_digest) is None
    keep_scores(tracking, made, SCORES, made.run_id)
    again = numbered(tracking, "fish", 1)
    assert kept_scores(tracking, again, SCORES.test_digest).predictions.tolist() == [0, 0]
    assert kept_scores(tracking, again, "e" * 64) is None and kept_scores(tracking, again, "") is None


def test_predictions_that_were_deleted_are_no_predictions(tracking, registered, tmp_path):
    made = registered(tracking)
    keep_scores(tracking, made, SCORES, made.run_id)
    tag = registry._scores_tag(SCORES.test_digest)
    tracking.set_model_version_tag("fish", "1", tag, f"{made.run_id}/gate/other.safetensors")
    assert kept_scores(tracking, numbered(tracking, "fish", 1), SCORES.test_digest) is None


def test_a_server_keeps_models_too(mlflow_server, registered):
    client = connect(mlflow_server.uri)
    made = registered(client)
    keep_scores(client, made, SCORES, made.run_id)
    assert kept_scores(client, numbered(client, "fish", 1), SCORES.test_digest).test_digest == SCORES.test_digest
