import pytest
from mlflow.exceptions import MlflowException

from longtail.tracking.attempts import new_key
from longtail.tracking.identity import OFFLINE_TAG, Identity, find_parents, find_run_id, named_experiment


@pytest.fixture
def experiment(tracking):
    return tracking.create_experiment("e")


def test_a_pipelines_run_is_the_same_to_all_who_ask(tracking, experiment):
    whole = Identity(pipeline=True, pipeline_run_id="p-1").locate(tracking, experiment)
    assert Identity("other", pipeline=True, pipeline_run_id="p-1").locate(tracking, experiment) == whole
    step = Identity("train", new_key(), pipeline_run_id="p-1").locate(tracking, experiment)
    assert tracking.get_run(step).data.tags["mlflow.parentRunId"] == whole
    assert find_parents(tracking, experiment, "p-1") == [whole]


def test_a_step_is_found_again_by_its_key_and_has_its_own_start(tracking, experiment):
    identity = Identity("train", new_key(), started=1_700_000_000_000)
    first = identity.locate(tracking, experiment)
    assert identity.locate(tracking, experiment) == first
    assert tracking.get_run(first).info.start_time == 1_700_000_000_000


def test_a_run_that_was_on_disk_is_found_by_its_id_there(tracking, experiment):
    run = tracking.create_run(experiment, tags={OFFLINE_TAG: "there"}).info.run_id
    assert find_run_id(tracking, run) == find_run_id(tracking, "there") == run
    assert Identity(run_id="there").locate(tracking, experiment) == run
    with pytest.raises(MlflowException, match="nowhere"):
        find_run_id(tracking, "nowhere")


def test_an_experiment_beside_a_database_keeps_its_files_there(tracking, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    found = named_experiment(tracking, uri, "mine")
    assert named_experiment(tracking, uri, "mine") == found
    assert tracking.get_experiment(found).artifact_location == (tmp_path / "artifacts").as_uri()
