"""The chart as Helm renders it, and a way to run its containers as processes of this machine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from charts.check import name_of
from charts.fetch_helm import helm as find_helm

CHART = Path(__file__).parents[2] / "charts" / "longtail"
NAMESPACE = "ml"

# Inside a process: the service's names lead to the port that the server has here; the Host header stays as sent.
RESOLVER = """
import os, socket
look_up = socket.getaddrinfo
def getaddrinfo(host, port, *args, **kwargs):
    if str(host).partition(".")[0] == "longtail-mlflow":
        host, port = "127.0.0.1", int(os.environ["TEST_SERVER_PORT"])
    return look_up(host, port, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture(scope="session")
def helm():
    """Return a function that runs helm on the chart and returns the finished process."""
    program = find_helm()

    def run(command, *arguments, values=""):
        files = ["--values", CHART / f"values-{values}.yaml"] if values else []
        name = [] if command == "lint" else ["longtail"]
        return subprocess.run(
            [program, command, *name, CHART, "--namespace", NAMESPACE, *files, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def render(helm):
    """Return a function that renders the chart: the objects by `Kind/name`."""

    def run(*settings, values=""):
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        finished = helm("template", *arguments, values=values)
        assert finished.returncode == 0, finished.stderr
        return {name_of(one): one for one in yaml.safe_load_all(finished.stdout) if one}

    return run


@pytest.fixture(scope="session")
def refusal(helm):
    """Return a function that gives the reason why values are refused."""

    def run(*settings, values=""):
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        finished = helm("template", *arguments, values=values)
        assert finished.returncode != 0, f"{settings} were not refused"
        return finished.stderr

    return run


class Machine:
    """Runs rendered containers as processes, with folders in place of volumes."""

    def __init__(self, folder, secrets, port):
        self.folder, self.secrets, self.port, self.mounts = folder, secrets, port, {}
        (folder / "resolver").mkdir()
        (folder / "resolver" / "sitecustomize.py").write_text(RESOLVER)

    def pod(self, spec):
        """Return a pod's containers in the order they run in, which share its volumes."""
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        self.mounts = {one["mountPath"]: one["name"] for container in containers for one in container["volumeMounts"]}
        return containers

    def start(self, container, **options):
        """Start a container's own command with its own variables."""
        # One of a pod's containers may write down a path that only another one mounts.
        mounts = self.mounts | {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        for name in mounts.values():
            (self.folder / name).mkdir(exist_ok=True)
        anywhere = re.compile("|".join(rf"(?<![\w.-]){re.escape(path)}(?=/|$)" for path in mounts))

        def local(text):
            text = anywhere.sub(lambda match: str(self.folder / mounts[match[0]]), text)
            return text.replace("--host=0.0.0.0", "--host=127.0.0.1").replace("--port=5000", f"--port={self.port}")

        bin_folder = Path(sys.executable).parent
        environment = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "resolver"),
            "TEST_SERVER_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }
        for variable in container.get("env", []):
            if "value" in variable:
                environment[variable["name"]] = local(variable["value"])
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                environment[variable["name"]] = self.secrets[reference["name"]][reference["key"]]
        command, *arguments = [*container["command"], *container.get("args", [])]
        program = bin_folder / command
        return subprocess.Popen(
            [program if program.exists() else command, *map(local, arguments)],
            env=environment,
            cwd=local(container.get("workingDir", "/tmp")),
            **options,
        )

    def run(self, container, seconds=240):
        """Run a container to its end and return its exit code and all that it printed."""
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = self.start(container, start_new_session=True, **output)
        try:
            printed, _ = process.communicate(timeout=seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, printed


@pytest.fixture(scope="module")
def machine(tmp_path_factory, servers):
    """Return a function that makes a machine of its own for a test."""

    def make(secrets):
        return Machine(tmp_path_factory.mktemp("machine"), secrets, servers.free_port())

    return make


@pytest.fixture(scope="module")
def store(servers, tmp_path_factory):
    server = servers.Seaweed(tmp_path_factory.mktemp("store")).start()
    yield server
    server.kill()
