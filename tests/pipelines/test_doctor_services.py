import argparse
import re
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from longtail.errors import InputError
from pipelines import doctor_services as checks
from pipelines.doctor_finding import NOT_SET, NOTE, OK, WRONG
from pipelines.kubeflow import add_connection


def asked(*options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--s3", default="")
    add_connection(parser)
    return parser.parse_args(options)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, home):
    for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "LONGTAIL_CHECKPOINTS", "LONGTAIL_KFP_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.server
def test_a_real_tracking_server(servers, tmp_path, monkeypatch):
    server = servers.Mlflow(tmp_path / "mlflow").start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        found = checks.tracking(asked())
        assert found.state == OK
        assert re.fullmatch(rf"MLflow 3\.\d+\.\d+ at {server.uri}", found.message)
        assert checks.artifacts(asked()).state == OK
        assert [path for path in (tmp_path / "mlflow" / "served").rglob("*") if path.is_file()] == []
        assert checks.clock(asked()).state == OK
        monkeypatch.setattr(checks, "OLDEST_MLFLOW", (99, 0))
        with pytest.raises(InputError, match=r"is MLflow 3\.\d+\.\d+: 99\.0 or newer is needed, upgrade the server"):
            checks.tracking(asked())
    finally:
        server.kill()


def test_a_tracking_server_that_is_away(dead_server):
    for check in (checks.tracking, checks.artifacts):
        with pytest.raises(InputError, match="does not answer"):
            check(asked())


def test_a_local_database_is_fine(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    assert checks.tracking(asked()) == checks.Finding(OK, f"sqlite:///{tmp_path}/m.db")


@pytest.mark.server
def test_a_real_store(seaweed, use_store, monkeypatch):
    use_store(seaweed.port)
    before = seaweed.client().list_objects_v2(Bucket="images").get("KeyCount", 0)
    assert checks.s3(asked("--s3", "s3://images/some/prefix")).state == OK
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://images")
    assert checks.s3(asked()).message == "written, read back and deleted in s3://images"
    assert seaweed.client().list_objects_v2(Bucket="images").get("KeyCount", 0) == before


@pytest.mark.server
def test_a_real_store_that_refuses(seaweed, use_store):
    use_store(seaweed.port, secret="not-the-secret")
    with pytest.raises(InputError, match=r"put_object s3://images/p at 127.0.0.1:\d+: .*check bucket, key") as error:
        checks.s3(asked("--s3", "s3://images/p"))
    assert "not-the-secret" not in str(error.value)


def test_what_is_no_place(monkeypatch):
    with pytest.raises(InputError, match="--s3 is not s3://BUCKET/PREFIX"):
        checks.s3(asked("--s3", "bucket/prefix"))
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "/a/folder")
    assert checks.s3(asked()).state == NOT_SET


def test_kubeflow(kubeflow_server):
    found = checks.kubeflow(asked())
    assert found == checks.Finding(OK, f"Kubeflow Pipelines 2.17.1 at {kubeflow_server.url}")
    kubeflow_server.health["tag_name"] = "unknown"
    assert checks.kubeflow(asked()).state == NOTE
    kubeflow_server.health["tag_name"] = "2.5.0"
    with pytest.raises(InputError, match=r"2.17 or newer is needed"):
        checks.kubeflow(asked())


def test_kubeflow_that_does_not_know_us(kubeflow_server):
    kubeflow_server.refusals = [(200, kubeflow_server.health), (401, {})]
    with pytest.raises(InputError, match=r"does not know who asks \(401\)"):
        checks.kubeflow(asked())


@pytest.mark.parametrize(
    ("seconds", "state", "message"),
    [
        (0, OK, "at most 30 s from the servers'"),
        (120, NOTE, r"1\d\d s behind http://127.0.0.1:\d+: set it by NTP; S3 refuses signatures from 900 s on"),
        (-1000, WRONG, r"\d+ s ahead of http://127.0.0.1"),
    ],
)
def test_the_clock(kubeflow_server, monkeypatch, seconds, state, message):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    handler = kubeflow_server.server.RequestHandlerClass
    monkeypatch.setattr(handler, "date_time_string", lambda self, timestamp=None: then)
    found = checks.clock(asked())
    assert found.state == state
    assert re.match(message, found.message)


def test_no_server_tells_the_time(monkeypatch):
    assert checks.clock(asked()).state == NOT_SET
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert checks.clock(asked()).state == NOT_SET
