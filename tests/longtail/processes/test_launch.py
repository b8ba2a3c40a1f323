"""A job of Kubeflow's trainer: a server on loopback stands for Kubernetes, and runs the pods' commands for real."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from moto.server import ThreadedMotoServer

from longtail.networks import load
from longtail.processes import jobs

SECRET = {"secretKeyRef": {"name": "longtail-s3", "key": "secret-access-key", "optional": True}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "step-pod"},
    "spec": {
        "serviceAccountName": "pipeline-runner",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            {"name": "kfp-launcher", "emptyDir": {}},
        ],
        "containers": [
            {"name": "wait", "image": "argo"},
            {
                "name": "main",
                "image": "registry.example/longtail@sha256:" + "0" * 64,
                "env": [
                    {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": SECRET},
                    {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "OWN", "value": "1"},
                ],
                "resources": {"limits": {"cpu": "2", "memory": "8G"}},
                "volumeMounts": [
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                    {"name": "kfp-launcher", "mountPath": "/kfp-launcher"},
                ],
            },
        ],
    },
}


class FakeKubernetes(ThreadingHTTPServer):
    """Keeps custom resources and runs a job's pods as processes of this machine when it is made."""

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.master_port, self.requests, self.objects, self.bodies = port, [], {}, []
        self.refuses, self.runs = 0, True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, method, path, body):
        self.requests.append((method, path))
        if path == "/api/v1/namespaces/team/pods/step-pod":
            return 200, POD
        if self.refuses:
            return self.refuses, {"message": "no"}
        name = path.partition("jobs/")[2]
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.objects:
                return 409, {"message": "AlreadyExists"}
            self.bodies.append(body)
            self.objects[name] = body
            if self.runs:
                threading.Thread(target=self._carry_out, args=(body,), daemon=True).start()
            return 201, body
        if name not in self.objects:
            return 404, {"message": "NotFound"}
        return 200, self.objects.pop(name) if method == "DELETE" else self.objects[name]

    def _carry_out(self, body):
        processes = list(self.pods(body))
        try:
            codes = [process.wait(100) for process in processes]
        except subprocess.TimeoutExpired:
            codes = []
        for process in processes:
            process.kill()
        done = self.end(body, codes == [0, 0])
        self.objects[body["metadata"]["name"]] = done

    def end(self, body, well):
        good = "Complete" if body["kind"] == "TrainJob" else "Succeeded"
        return body | {"status": {"conditions": [{"type": good if well else "Failed", "status": "True"}]}}

    def pods(self, body):
        """Start what the operator would start, with the variables that it gives."""
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.master_port)}
        for rank in "01":
            if body["kind"] == "TrainJob":
                container = body["spec"]["trainer"]
                given = {f"PET_{name}": value for name, value in address.items()}
                given |= {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": rank}
            else:
                replica = body["spec"]["pytorchReplicaSpecs"]["Worker" if rank == "1" else "Master"]
                (container,) = replica["template"]["spec"]["containers"]
                given = address | {"WORLD_SIZE": "2", "RANK": rank}
            own = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
            variables = os.environ | given | own | {"GLOO_SOCKET_IFNAME": "lo"}
            yield subprocess.Popen([sys.executable, *container["command"][1:]], env=variables)


class _Handler(BaseHTTPRequestHandler):
    def _any(self):
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        status, answer = self.server.answer(
            self.command, self.path.partition("?")[0], json.loads(content) if content else None
        )
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _any  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def store(servers, use_store, monkeypatch):
    """An S3 store in memory, where checkpoints go."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=servers.free_port(), verbose=False)
    server.start()
    use_store(server.get_host_and_port()[1])
    import boto3

    boto3.client("s3").create_bucket(Bucket="bucket")
    monkeypatch.setenv("LONGTAIL_CHECKPOINTS", "s3://bucket/checkpoints")
    yield boto3.client("s3")
    server.stop()


@pytest.fixture
def kubernetes(servers, monkeypatch, use_kubeconfig, tmp_path):
    """A Kubernetes that this process is told of by KUBECONFIG."""
    server = FakeKubernetes(servers.free_port())
    context = {"cluster": "c", "user": "u", "namespace": "team"}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(text))
    use_kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("KFP_POD_NAME", "step-pod")
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0")
    yield server
    server.shutdown()


@pytest.mark.parametrize("launcher", ["trainjob", "pytorchjob"])
def test_two_pods_train_what_one_process_does(train, store, kubernetes, tmp_path, launcher, monkeypatch):
    together, second, described = train(tmp_path / "two", processes=2, launcher=launcher)
    assert described["epochs"] == 2
    assert "<img" in (tmp_path / "two" / "report").read_text()
    (body,) = kubernetes.bodies
    assert [method for method, _ in kubernetes.requests if method != "GET"] == ["POST", "DELETE"]
    assert not kubernetes.objects
    _check(body, launcher)
    monkeypatch.delenv("LONGTAIL_CHECKPOINTS")
    alone, first, _ = train(tmp_path / "one")
    for (name, one), two in zip(alone.state_dict().items(), together.state_dict().values(), strict=True):
        assert ((one - two) / 0.1).abs().max() < 1e-5, name
    assert [epoch["validation/accuracy"] for epoch in first["history"]] == [
        epoch["validation/accuracy"] for epoch in second["history"]
    ]


def _check(body, launcher):
    assert "a-secret" not in json.dumps(body)
    if launcher == "trainjob":
        assert (body["apiVersion"], body["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
        assert body["spec"]["runtimeRef"] == {"name": "torch-distributed"}
        container = body["spec"]["trainer"]
        assert (container["numNodes"], container["numProcPerNode"]) == (2, 1)
        assert container["resourcesPerNode"] == {"limits": {"cpu": "2", "memory": "8G"}}
    else:
        assert (body["apiVersion"], body["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
        replicas = body["spec"]["pytorchReplicaSpecs"]
        assert {name: replica["replicas"] for name, replica in replicas.items()} == {"Master": 1, "Worker": 1}
        pod = replicas["Worker"]["template"]["spec"]
        assert pod["nodeSelector"] == {"pool": "gpu"}
        assert [volume["name"] for volume in pod["volumes"]] == ["shared-memory"]
        (container,) = pod["containers"]
        assert container["name"] == "pytorch"
    assert container["image"] == POD["spec"]["containers"][1]["image"]
    environment = {entry["name"]: entry for entry in container["env"]}
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == SECRET
    assert "KFP_POD_NAME" not in environment and environment["OWN"]["value"] == "1"


def test_a_step_that_was_started_anew_goes_on_with_its_own_job(train, store, kubernetes, tmp_path, capfd):
    """The first one lost its pod while the job ran; here it has ended meanwhile."""
    train(tmp_path / "first", processes=2, launcher="trainjob")
    (body,) = kubernetes.bodies
    kubernetes.objects[body["metadata"]["name"]] = kubernetes.end(body, well=True)
    train(tmp_path / "second", processes=2, launcher="trainjob")
    assert "is there: going on with it" in capfd.readouterr().err
    assert kubernetes.bodies == [body]
    assert not kubernetes.objects
    load(tmp_path / "second" / "backbone")


def test_a_job_of_this_name_that_failed_is_replaced_and_its_failure_is_told(train, store, kubernetes, tmp_path, capsys):
    kubernetes.runs, known = False, {}

    def fail(method, path, body):
        if method == "POST" and body["metadata"]["name"] not in kubernetes.objects:
            known["name"] = body["metadata"]["name"]
            message = json.dumps({"code": 2, "message": "the images changed"})
            key = f"checkpoints/jobs/{known['name'].removeprefix('longtail-')}/failure"
            store.put_object(Bucket="bucket", Key=key, Body=message.encode())
            answer = FakeKubernetes.answer(kubernetes, method, path, body)
            kubernetes.objects[known["name"]] = kubernetes.end(body, well=False)
            return answer
        return FakeKubernetes.answer(kubernetes, method, path, body)

    kubernetes.answer = fail
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            train(tmp_path / "out", processes=2, launcher="pytorchjob")
        assert ended.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1] == "error: the images changed"
        assert not kubernetes.objects
        kubernetes.objects[known["name"]] = kubernetes.end(kubernetes.bodies[0], well=False)  # left by a killed step
    assert len(kubernetes.bodies) == 2


def test_what_the_api_refuses_is_one_line(train, store, kubernetes, tmp_path, capsys):
    kubernetes.refuses = 403
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "out", processes=2, launcher="trainjob")
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: Kubernetes answered 403") and "create, get and delete trainjobs" in line


def test_pods_need_a_store(train, kubernetes, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(tmp_path / "out", processes=2, launcher="trainjob")
    assert "needs LONGTAIL_CHECKPOINTS=s3://... to reach its pods" in capsys.readouterr().err


def test_without_kubernetes_there_is_no_job(train, store, tmp_path, use_kubeconfig, capsys):
    use_kubeconfig(tmp_path / "none")
    with pytest.raises(SystemExit):
        train(tmp_path / "out", processes=2, launcher="trainjob")
    assert "but no Kubernetes is known here" in capsys.readouterr().err
