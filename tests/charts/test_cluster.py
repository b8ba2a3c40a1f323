"""The chart on a real API server, if KUBE_APISERVER names one and etcd is installed: it schedules nothing."""

import os
import secrets
import shutil
import ssl
import subprocess
import time
import urllib.request

import pytest
import yaml

pytestmark = pytest.mark.chart

RELEASE = ("longtail", "charts/longtail", "--namespace", "ml")


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory, servers):
    """Start etcd and the API server, make the namespaces, and give the variables of a client."""
    program = os.environ.get("KUBE_APISERVER", "")
    if not program:
        pytest.skip("KUBE_APISERVER names no API server")
    if (etcd := shutil.which("etcd")) is None:
        pytest.fail("KUBE_APISERVER needs etcd: apt-get install etcd-server")
    folder, token = tmp_path_factory.mktemp("kubernetes"), secrets.token_hex(16)
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    client_port, peer_port, port = (servers.free_port() for _ in range(3))
    store, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    commands = [
        [
            *(etcd, "--data-dir", folder / "etcd", "--listen-client-urls", store, "--advertise-client-urls", store),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
        ],
        [
            *(program, f"--etcd-servers={store}", f"--secure-port={port}", "--bind-address=127.0.0.1"),
            *(f"--cert-dir={folder / 'certificates'}", f"--token-auth-file={folder / 'tokens.csv'}"),
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}"),
            *(f"--service-account-signing-key-file={key}", "--disable-admission-plugins=ServiceAccount"),
        ],
    ]
    log = (folder / "log").open("w")
    processes = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        address = f"https://127.0.0.1:{port}"
        wait_until_ready(address, token, processes, folder / "log")
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(client_settings(address, token)))
        yield {**os.environ, "KUBECONFIG": str(file)}
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        log.close()


def wait_until_ready(address, token, processes, log):
    request = urllib.request.Request(f"{address}/readyz", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        try:
            with urllib.request.urlopen(request, timeout=2, context=ssl._create_unverified_context()):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no API server: {log.read_text()[-2000:]}")


def client_settings(address, token):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": address, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


@pytest.fixture
def run(kubernetes):
    """Return a function that runs helm against the API server."""
    from charts.fetch_helm import helm

    def command(*arguments):
        finished = subprocess.run([helm(), *arguments], env=kubernetes, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return command


@pytest.fixture
def namespaces(kubernetes):
    from kubernetes import client, config

    core = client.CoreV1Api(config.new_client_from_config(kubernetes["KUBECONFIG"]))
    there = {item.metadata.name for item in core.list_namespace().items}
    for name in {"ml", "kubeflow", "team-example"} - there:
        core.create_namespace({"metadata": {"name": name}})


@pytest.mark.parametrize("values", ["laptop", "cloud", "airgapped"])
def test_api_server_takes_what_the_chart_renders(run, namespaces, values):
    file = f"charts/longtail/values-{values}.yaml"
    run("install", *RELEASE, "--values", file, "--dry-run=server")
    run("install", *RELEASE, "--values", file, "--no-hooks")
    try:
        run("upgrade", *RELEASE, "--values", file, "--no-hooks", "--set", "mlflow.workers=3")
        assert "deployed" in run("status", "longtail", "--namespace", "ml")
    finally:
        run("uninstall", "longtail", "--namespace", "ml", "--no-hooks")
