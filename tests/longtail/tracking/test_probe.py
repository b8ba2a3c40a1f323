import pytest

from longtail.errors import InputError
from longtail.tracking.probe import EXPERIMENT, check_artifacts, server_version

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_a_run_is_made_and_deleted(tracking, tmp_path):
    check_artifacts()
    check_artifacts()
    experiment = tracking.get_experiment_by_name(EXPERIMENT)
    assert tracking.search_runs([experiment.experiment_id]) == []
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


def test_an_artifact_that_cannot_be_written(tracking, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("password=abcdefgh may not\nwrite")

    monkeypatch.setattr("mlflow.MlflowClient.log_text", refuse)
    with pytest.raises(InputError, match="lets nobody write an artifact: password=") as error:
        check_artifacts()
    assert "abcdefgh" not in str(error.value)
    assert "\n" not in str(error.value)
    assert tracking.search_runs([tracking.get_experiment_by_name(EXPERIMENT).experiment_id]) == []


def test_an_experiment_that_somebody_deleted(tracking):
    check_artifacts()
    tracking.delete_experiment(tracking.get_experiment_by_name(EXPERIMENT).experiment_id)
    check_artifacts()


def test_an_artifact_that_comes_back_changed(tracking, monkeypatch, tmp_path):
    def other(self, run_id, path, folder):
        (tmp_path / "other").write_text("other")
        return str(tmp_path / "other")

    monkeypatch.setattr("mlflow.MlflowClient.download_artifacts", other)
    with pytest.raises(InputError, match="came back changed"):
        check_artifacts()


def test_a_server_that_is_away(dead_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port}")
    with pytest.raises(InputError, match=r"does not answer \(MlflowException\): start it"):
        server_version()


@pytest.mark.server
def test_the_version_of_a_real_server(mlflow_server, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    assert server_version() == mlflow.__version__
