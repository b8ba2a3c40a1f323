"""A store in memory, behind a proxy that fails as stores and networks do."""

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from longtail import retries


@pytest.fixture(scope="session")
def moto_port():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


METHODS = {"GET", "PUT", "POST", "HEAD", "DELETE"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on; `faults` says what goes wrong with the next ones.

    A fault is a number, a status to answer with; `"cut"` ends an answer's body midway; `"flip"` changes its last byte.
    Requests of a method in `only` alone are counted.
    """

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.requests, self.faults, self.only = port, [], iter(()), METHODS

    def fail(self, *faults, only=None):
        self.faults, self.only = iter(faults), only or METHODS


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _pass(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.server.requests.append((self.command, self.path))
        fault = next(self.server.faults, None) if self.command in self.server.only else None
        if isinstance(fault, int):
            answer = b"<Error><Code>SlowDown</Code></Error>"
            self.send_response(fault)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer)
            return
        target = HTTPConnection("127.0.0.1", self.server.target)
        target.request(self.command, self.path, body, dict(self.headers))
        found = target.getresponse()
        data = found.read()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.end_headers()
        if fault == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
        self.close_connection = fault == "cut"

    def log_message(self, *arguments):
        pass


for method in METHODS:
    setattr(_Handler, f"do_{method}", _Handler._pass)


@pytest.fixture
def proxy(moto_port):
    server = Proxy(moto_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(moto_port, proxy, use_store, tmp_path, monkeypatch):
    """Point this process at the proxy, with an empty bucket `bucket`; return a client that does not go through it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTAIL_PATIENCE", "60")
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.01)
    use_store(moto_port)
    reset = Request(f"http://127.0.0.1:{moto_port}/moto-api/reset", method="POST")
    urlopen(reset).close()  # all of moto's servers in a process have the same objects
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    use_store(proxy.server_port)
    return client
