"""What is looked at before a container runs, by recorded answers of the two engines."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from longtail.errors import InputError
from longtail.settings import resolve
from pipelines import containers_engine
from pipelines.containers import Engine

DOCKER = {"Version": "27.1", "ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
PODMAN = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}


def test_roots_containers_run_as_the_images_user(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert containers_engine._engine({"NCPU": 4}, DOCKER) == Engine(4, "10001:10001")


def test_a_users_containers_run_as_the_user(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    assert containers_engine._engine({"NCPU": 4}, DOCKER) == Engine(4, "1000:100")
    rootless = {"NCPU": 4, "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}
    assert containers_engine._engine(rootless, PODMAN) == Engine(4, "1000:100", "keep-id")
    with pytest.raises(InputError, match="rootless Docker lets only its root write"):
        containers_engine._engine(rootless, DOCKER)


@pytest.mark.parametrize(
    ("tracking", "data", "network"),
    [
        ("", "", "none"),
        ("sqlite:////elsewhere/mlflow.db", "", "none"),
        ("http://localhost:5000", "", "host"),
        ("https://mlflow.example", "", "bridge"),
        ("", "s3://bucket/images", "bridge"),
    ],
)
def test_a_network_only_for_servers(home, monkeypatch, tracking, data, network):
    if tracking:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    config = resolve("digits", [f"data.path={data}"] if data else [])
    assert containers_engine._network(config) == network
    monkeypatch.setenv("LONGTAIL_NETWORK", "internal")
    assert containers_engine._network(config) == ("none" if network == "none" else "internal")


def test_what_is_mounted(home, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/tracking/mlflow.db")
    for name in containers_engine.BUNDLES:
        monkeypatch.delenv(name, raising=False)
    config = resolve("digits", [f"data.path={tmp_path / 'images'}", "backbone.weights=published"])
    assert containers_engine._read_only(config) == [tmp_path / "images"]
    assert containers_engine._writable("none") == [home, tmp_path / "tracking"]
    assert containers_engine._writable("bridge")[-1] == Path(os.environ["XDG_CACHE_HOME"]) / "longtail"


def test_data_that_only_root_can_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    tmp_path.chmod(0o700)
    with pytest.raises(InputError, match=r"cannot be read by user 10001 of the containers: run chmod -R o\+rX /"):
        containers_engine._check_readable([tmp_path], Engine(1, "10001:10001"))
    tmp_path.chmod(0o755)
    containers_engine._check_readable([tmp_path], Engine(1, "10001:10001"))


def test_no_engine(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    with pytest.raises(InputError, match=r"no Docker API answers at unix://.*nobody .*start Docker, or `podman system"):
        containers_engine.connect(resolve("digits"), "longtail/x:1", ["evaluation"])


class Server(UnixStreamServer):
    """An engine without images, on a socket."""

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("socket", 0)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        found = {"/info": {"NCPU": 2}, "/version": PODMAN}
        answer = next((value for end, value in found.items() if self.path.endswith(end)), None)
        body = json.dumps({"message": "no such image"} if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_no_image(home, tmp_path, monkeypatch):
    with Server(str(tmp_path / "socket"), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")
        with pytest.raises(InputError, match=r"there is no image longtail/x:1: run `make images`"):
            containers_engine.connect(resolve("digits"), "longtail/x:1", ["evaluation"])
        server.shutdown()
