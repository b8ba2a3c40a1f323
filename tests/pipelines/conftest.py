"""A home, a cache and an environment of the tests' own, and a server that stands for Kubeflow's."""

import contextlib
import email
import email.policy
import itertools
import json
import os
import re
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api as api
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory):
    """Keep the user's own runs, servers and caches out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "KFP_", "LONGTAIL_")):
                patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dead_server(monkeypatch) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Three classes of JPEG files in train/CLASS and test/CLASS, each of its own size and colour."""
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for label, name in enumerate(("cat", "dog", "owl")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                height, width = random.integers(32, 41, 2)
                pixels = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
                pixels[..., label] += 120
                Image.fromarray(pixels).save(root / split / name / f"{i}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def feature_table(tmp_path_factory) -> Path:
    """Rows of three classes, 40, 12 and 4 of them, with eight features in plain columns."""
    random, labels = np.random.default_rng(0), np.repeat(["cat", "dog", "owl"], [40, 12, 4])
    x = random.normal(size=(len(labels), 8)) + 2 * np.eye(3, 8)[np.repeat([0, 1, 2], [40, 12, 4])]
    columns = {f"f{i}": x[:, i].astype(np.float32) for i in range(8)}
    path = tmp_path_factory.mktemp("features") / "table.parquet"
    pq.write_table(pa.table({**columns, "label": labels}), path, row_group_size=20)
    return path


@pytest.fixture
def library(tmp_path) -> Path:
    """A copy of the library's source that may be changed."""
    import longtail

    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(longtail.__file__).parent, tmp_path / "longtail", ignore=ignore))


LISTS = {
    "pipelines": ("V2beta1Pipeline", "pipeline_id"),
    "experiments": ("V2beta1Experiment", "experiment_id"),
    "runs": ("V2beta1Run", "run_id"),
    "recurringruns": ("V2beta1RecurringRun", "recurring_run_id"),
}
LISTED = {
    "pipelines": ("pipelines", "V2beta1ListPipelinesResponse"),
    "versions": ("pipeline_versions", "V2beta1ListPipelineVersionsResponse"),
    "experiments": ("experiments", "V2beta1ListExperimentsResponse"),
    "runs": ("runs", "V2beta1ListRunsResponse"),
    "recurringruns": ("recurringRuns", "V2beta1ListRecurringRunsResponse"),
}
QUERIES = {"namespace", "filter", "page_size", "page_token", "sort_by", "experiment_id", "view"}


def strict(model, value):
    """Check that a value has only fields of a typed model, all the way down, and return the model."""
    cls = getattr(api, model)
    names = {key: attribute for attribute, key in cls.attribute_map.items()}
    assert set(value) <= set(names), f"{model} has no {set(value) - set(names)}"
    for key, item in value.items():
        kind = cls.openapi_types[names[key]]
        inner = re.fullmatch(r"list\[(\w+)\]", kind)
        for part in item if inner else [item]:
            name = inner[1] if inner else kind
            if hasattr(getattr(api, name, None), "openapi_types") and isinstance(part, dict):
                strict(name, part)
    return api.ApiClient().deserialize(type("Answer", (), {"data": json.dumps(value)}), model)


class FakeKubeflow:
    """A server that records what is sent to it and takes each body apart as Kubeflow's typed models do.

    What the server holds, what was sent to it, and how it should misbehave.

    Attributes:
        requests: (method, path, query, body) of each request.
        headers: The headers of each.
        items: What there is, by its kind.
        refusals: Answers in place of the next ones: (status, body).
        changes_left: After so many changes the server is gone; None never.
        broken: What was against the contract; tests end with none.
    """

    def __init__(self):
        self.requests, self.headers, self.broken = [], [], []
        self.items = {name: {} for name in [*LISTS, "versions"]}
        self.refusals, self.changes_left, self.logs = [], None, {}
        self.health = {"commit_sha": "c", "tag_name": "2.17.1", "multi_user": False, "pipeline_store": "database"}
        self.numbers, self.page_limit = itertools.count(1), 100
        handler = type("Handler", (_Handler,), {"kubeflow": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def sent(self, method, path):
        """Return the bodies of the requests of a method and path."""
        return [body for sent, at, _, body in self.requests if (sent, at) == (method, path)]

    def changes(self):
        """Return method and path of what was not only asked."""
        return [(method, path) for method, path, _, _ in self.requests if method != "GET"]

    def on(self, name):
        """Return how many recurring runs of a name are switched on."""
        runs = self.items["recurringruns"].values()
        return len([run for run in runs if run["display_name"] == name and run["mode"] == "ENABLE"])

    def answer(self, method, path, query, body):
        """Return status and answer to a request."""
        if path == "/apis/v2beta1/healthz":
            return 200, self.health
        if path in self.logs:
            return 200, self.logs[path]
        if path == "/apis/v2beta1/pipelines/upload_version":
            return 200, self._upload(query, body)
        match = re.fullmatch(r"/apis/v2beta1/(\w+)(?:/([\w-]+))?(?:(/versions)|:(\w+))?", path)
        if match is None or match[1] not in LISTS:
            return 404, {"code": 5, "message": "Not Found"}
        kind, key, versions, verb = match.groups()
        if method == "GET" and (versions or not key):
            return 200, self._listed("versions" if versions else kind, query, key if versions else None)
        if key and key not in self.items[kind]:
            return 404, {"code": 5, "message": f"{kind} {key} not found"}
        if method == "GET":
            return 200, self.items[kind][key]
        if method == "DELETE":
            del self.items[kind][key]
            return 200, {}
        if verb:
            assert body is None and verb in ("enable", "disable", "terminate"), verb
            self.items[kind][key] |= {"mode": verb.upper()} if kind == "recurringruns" else {"state": "CANCELING"}
            return 200, {}
        return 200, self._made(kind, query, body)

    def _made(self, kind, query, body):
        model, key = LISTS[kind]
        strict(model, body)
        assert not query, query
        body = {**body, key: f"{kind}-{next(self.numbers)}", "created_at": "2026-11-24T12:00:00Z"}
        self.items[kind][body[key]] = body
        return body

    def _upload(self, query, body):
        assert set(query) == {"name", "display_name", "pipelineid"}, query
        assert query["pipelineid"] in self.items["pipelines"]
        spec, platform = yaml.safe_load_all(body)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        version = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": f"version-{next(self.numbers)}",
            "name": query["name"],
            "display_name": query["display_name"],
        }
        self.items["versions"][version["pipeline_version_id"]] = version
        return version

    def _listed(self, kind, query, pipeline):
        assert set(query) <= QUERIES, query
        found = [item for item in self.items[kind].values() if pipeline in (None, item.get("pipeline_id"))]
        if "filter" in query:
            asked = strict("V2beta1Filter", json.loads(query["filter"]))
            (predicate,) = asked.predicates
            assert predicate.operation == "EQUALS"
            found = [item for item in found if item.get(predicate.key) == predicate.string_value]
        start = int(query.get("page_token") or 0)
        end = start + min(int(query["page_size"]), self.page_limit)
        answer = {LISTED[kind][0]: found[start:end], "next_page_token": str(end) if end < len(found) else ""}
        strict(LISTED[kind][1], answer)
        return answer


class _Handler(BaseHTTPRequestHandler):
    kubeflow: FakeKubeflow
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def do_DELETE(self):
        self._serve()

    def _serve(self):
        parts, fake = urlsplit(self.path), self.kubeflow
        query = {key: value for key, value in parse_qsl(parts.query) if value}
        body = self._body()
        fake.requests.append((self.command, parts.path, query, body))
        fake.headers.append(dict(self.headers))
        if fake.changes_left == 0 or (self.command != "GET" and fake.changes_left is not None):
            if fake.changes_left == 0:
                self.close_connection = True
                return
            fake.changes_left -= 1
        if fake.refusals:
            self._send(*fake.refusals.pop(0))
            return
        try:
            self._send(*fake.answer(self.command, parts.path, query, body))
        except Exception as error:
            fake.broken.append(f"{self.command} {self.path}: {error!r}")
            self._send(400, {"message": f"{error}"})

    def _body(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = email.message_from_bytes(
                f"Content-Type: {kind}\r\n\r\n".encode() + content, policy=email.policy.HTTP
            )
            (part,) = message.iter_parts()
            assert part.get_param("name", header="content-disposition") == "uploadfile"
            return part.get_payload(decode=True).decode()
        return json.loads(content) if content else None

    def _send(self, status, answer):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def kubeflow_server(monkeypatch):
    """A server that stands for Kubeflow's, named by LONGTAIL_KFP_HOST; what is sent to it must keep the contract."""
    server = FakeKubeflow()
    monkeypatch.setenv("LONGTAIL_KFP_HOST", server.url)
    for name in ("KFP_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for module in ("kubeflow", "recurring"):
        monkeypatch.setattr(f"pipelines.{module}._WAIT_SECONDS", 0.0)
    monkeypatch.setattr("pipelines.runs.POLL_SECONDS", 0.01)
    yield server
    server.close()
    assert server.broken == []
