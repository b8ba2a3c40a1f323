import pytest

from longtail.tracking.run import step_run
from pipelines.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("MLFLOW_RUN_ID", "KFP_RUN_ID", "LONGTAIL_CHECKPOINTS", "LONGTAIL_TRACKING", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_run_that_was_on_disk_is_sent_once(monkeypatch, tmp_path, servers, capsys):
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
        with step_run("train", {"epochs": 1}, {}):
            pass
        assert main(["sync"]) == 2
        assert "does not answer" in capsys.readouterr().err
    assert main(["sync"]) == 0
    sent, total = capsys.readouterr().out.splitlines()
    assert sent.split()[0] == "sent" and sent.split()[2] == "train"
    assert total.startswith("1 of 1 runs sent to sqlite:///")
    assert main(["sync"]) == 0
    assert capsys.readouterr().out == "nothing waits to be sent\n"


def test_a_store_of_objects_that_is_away_is_one_line(monkeypatch, servers, capsys):
    for name, value in servers.s3_variables(servers.free_port()).items():
        monkeypatch.setenv(name, value)
    assert main(["sync", "--from", "s3://bucket/prefix"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: s3://bucket/prefix at 127.0.0.1")
