import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from longtail.errors import InputError
from longtail.tracking.server import check_tracking_server, home, sqlite_file, tracking_uri

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def answering():
    """Start a stub server that gives every request the same answer."""
    servers = []

    def start(status, body):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_default_is_a_database_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".longtail"
    monkeypatch.setenv("LONGTAIL_HOME", "elsewhere")
    assert tracking_uri() == f"sqlite:///{tmp_path}/elsewhere/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri() == "http://mlflow:5000"


def test_sqlite_file_is_absolute_and_decoded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sqlite_file("sqlite:///a%20b.db?x=1") == tmp_path / "a b.db"
    assert sqlite_file("sqlite:////data/x.db") == Path("/data/x.db")
    assert sqlite_file("http://mlflow:5000") is None


def test_writable_sqlite_passes_and_its_folder_is_made(tmp_path):
    check_tracking_server(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert (tmp_path / "new").is_dir()


def test_sqlite_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file/mlflow\.db.*cannot be written"):
        check_tracking_server(f"sqlite:///{tmp_path}/file/mlflow.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_sqlite_in_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        check_tracking_server(f"sqlite:///{tmp_path}/mlflow.db")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough")
    with pytest.raises(InputError, match="is not an SQLite database"):
        check_tracking_server(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://me:hunter2@host", "unknown scheme"),
        ("mlflow:5000", "unknown scheme"),
        ("./mlruns", "unknown scheme"),
        ("", "unknown scheme"),
        ("http://", "malformed"),
        ("http://me:hunter2@host:port", "malformed"),
        ("sqlite://", "names no file"),
    ],
)
def test_malformed_address_is_one_line_without_its_password(uri, message):
    with pytest.raises(InputError, match=message) as caught:
        check_tracking_server(uri)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_dead_port_is_found_out_in_seconds(scheme, dead_port):
    start = time.monotonic()
    with pytest.raises(InputError, match=rf"\*\*\*@127\.0\.0\.1:{dead_port}") as caught:
        check_tracking_server(f"{scheme}://me:hunter2@127.0.0.1:{dead_port}")
    assert time.monotonic() - start < 6
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, "", "refuses the credentials"),
        (403, "", "refuses the credentials"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
        (404, "", "does not speak MLflow"),
        (200, "<html>hello</html>", "does not speak MLflow"),
        (503, "", "does not speak MLflow"),
    ],
)
def test_refusals_say_what_to_do(answering, status, body, message):
    with pytest.raises(InputError, match=message):
        check_tracking_server(f"http://{answering(status, body)}")


def test_server_that_lists_experiments_passes(answering):
    check_tracking_server(f"http://{answering(200, json.dumps({'experiments': []}))}")
    check_tracking_server(f"http://{answering(200, '{}')}")
