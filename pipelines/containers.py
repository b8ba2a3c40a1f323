"""A local run's steps in containers, through the Docker API of Docker or podman.

Kubeflow's own Docker runner takes containers that fail for ones that succeed: it lets them be removed as they end, and
then no longer learns their exit code. So its handling of a container is replaced while a pipeline runs.
"""

import codecs
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from kfp.local import docker_task_handler
from kfp.local.status import Status
from kfp.local.task_handler_interface import ITaskHandler
from kubernetes.utils import parse_quantity

from longtail.artifacts import sha256_json
from longtail.steps import events
from longtail.tracking.identity import SUPERVISOR
from longtail.tracking.run import home
from pipelines.policy import POLICY

FAILURES = (DockerException, requests.RequestException)
"""What a call of the Docker API may raise."""
BUNDLES = ("AWS_CA_BUNDLE", "MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of certificates."""
NETWORK = "LONGTAIL_NETWORK"
"""Variable that names the network that leads to MLflow and S3."""
HOME_LABEL, SUPERVISOR_LABEL = "longtail.home", "longtail.supervisor"
"""Labels of a container: the home it writes to, and the process that waits for it."""

_PASSED = ("AWS_", "KFP_RUN_ID", "LONGTAIL_", "MLFLOW_", "OMP_")
_KEPT_BACK = ("LONGTAIL_GIT_COMMIT", NETWORK, SUPERVISOR)  # a process id means nothing in a container
_GRACE_SECONDS = 30
_OUT_OF_MEMORY = 112
_TELL = f"""trap '[ $? = 0 ] ||
    {{ grep -qs "^oom_kill [1-9]" /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control &&
    exit {_OUT_OF_MEMORY}; }}' EXIT
"""
"""Put before a step's shell commands: engines may not know that a process other than the first was killed."""


@dataclass(frozen=True)
class Engine:
    """What the engine that runs containers says of itself.

    Attributes:
        processors: How many it has.
        user: `uid:gid` that a container runs as; never root.
        user_namespace: `keep-id` where the user would otherwise be another one outside.
    """

    processors: int
    user: str
    user_namespace: str = ""


@dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        code: Its exit code.
        out_of_memory: Whether a process in it was killed for want of memory.
    """

    code: int
    out_of_memory: bool


class Containers:
    """The containers of one run.

    Args:
        engine: Where they run.
        read_only: Files and folders that they see at the same path.
        writable: Folders that they see and may write.
        network: `none`, or the name of the network that leads to MLflow and S3.
    """

    def __init__(self, engine: Engine, read_only: Sequence[Path], writable: Sequence[Path], network: str) -> None:
        self.engine, self.read_only, self.writable, self.network = engine, read_only, writable, network
        self.running: set[Container] = set()
        self.stopped = False

    def settings(self, step: str) -> dict[str, Any]:
        """Return what a step's container may do and use."""
        policy = POLICY[step]
        processors = min(float(parse_quantity(policy.cpu)), self.engine.processors)
        memory = int(parse_quantity(policy.memory))
        modes = {path: "ro" for path in self.read_only} | {path: "rw" for path in self.writable}
        threads = {"OMP_NUM_THREADS": str(max(1, round(processors)))}
        return {
            "cap_drop": ["ALL"],
            "environment": threads | _environment(self.network != "none"),
            "labels": {HOME_LABEL: home_digest(), SUPERVISOR_LABEL: str(os.getpid())},
            "mem_limit": memory,
            "memswap_limit": memory,
            "nano_cpus": int(processors * 1e9),
            "network_mode": self.network,
            "read_only": True,
            "security_opt": ["no-new-privileges"],
            "shm_size": int(parse_quantity(policy.shared_memory or "64Mi")),
            "tmpfs": {"/tmp": "rw,mode=1777"},
            "user": self.engine.user,
            "userns_mode": self.engine.user_namespace or None,
            "volumes": {str(path): {"bind": str(path), "mode": mode} for path, mode in modes.items()},
        }

    def run(
        self,
        image: str,
        command: Sequence[str],
        step: str,
        environment: Mapping[str, str],
        *,
        write: Callable[[str], Any] = lambda text: print(text, end=""),
    ) -> Ended:
        """Return how a step's container ended, after running it.

        Args:
            image: The image.
            command: What to run.
            step: Whose limits hold.
            environment: More variables.
            write: Called with what it prints, as it comes.
        """
        settings = self.settings(step)
        settings["environment"] |= environment
        self._give_folders()
        with contextlib.closing(docker.from_env()) as client:
            container = client.containers.create(find(client, image), list(command), **settings)
            self.running.add(container)
            try:
                container.start()
                decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
                for chunk in container.logs(stream=True, follow=True):
                    write(decoder.decode(chunk))
                code = container.wait()["StatusCode"]
                container.reload()
                if code == _OUT_OF_MEMORY or (code and container.attrs["State"].get("OOMKilled")):
                    return Ended(128 + signal.SIGKILL, True)
                return Ended(code, False)
            finally:
                end(container)
                self.running.discard(container)

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        """Let Kubeflow's local runner use these containers; end them if the process is interrupted or terminated."""
        theirs = docker_task_handler.DockerTaskHandler

        def handler(**task: Any) -> ITaskHandler:
            return _Task(self, **task)

        docker_task_handler.DockerTaskHandler = handler
        try:
            with _on_signals(self._end):
                yield
        finally:
            docker_task_handler.DockerTaskHandler = theirs

    def _end(self, number: int, _: FrameType | None) -> None:
        # The threads that wait for containers would keep the process from ending.
        self.stopped = True
        for container in tuple(self.running):
            end(container)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _give_folders(self) -> None:
        """Give the folders to the containers' user, if root is another one."""
        if os.getuid() == 0:
            uid, gid = map(int, self.engine.user.split(":"))
            for folder in self.writable:
                for path in (folder, *folder.rglob("*")):
                    with contextlib.suppress(FileNotFoundError):
                        os.chown(path, uid, gid, follow_symlinks=False)


class _Task(ITaskHandler):
    """One task of Kubeflow's local runner."""

    def __init__(self, containers: Containers, *, image: str, full_command: list[str], **task: Any) -> None:
        self.containers, self.image, self.command = containers, image, full_command
        self.environment = task.get("env_vars") or {}

    def run(self) -> Status:
        """Return whether it succeeded; why it did not is an event, if the step itself cannot have told."""
        if self.containers.stopped:
            return Status.FAILURE
        step = self.command[self.command.index("--function_to_execute") + 1]
        try:
            shell, option, script, *rest = self.command
            command = [shell, option, _TELL + script, *rest]
            ended = self.containers.run(self.image, command, step, self.environment)
        except FAILURES as error:
            events.emit(self._label(step), "failed", message=f"its container could not run: {reason(error)}", code=1)
            return Status.FAILURE
        if why := explanation(ended, POLICY[step].memory):
            events.emit(self._label(step), "failed", message=why, code=ended.code)
        return Status.SUCCESS if ended.code == 0 else Status.FAILURE

    def _label(self, step: str) -> str:
        given = json.loads(self.command[self.command.index("--executor_input") + 1])
        method = given["inputs"].get("parameterValues", {}).get("method")
        return f"{step}/{method}" if method else step


def explanation(ended: Ended, memory: str) -> str:
    """Return why a container ended, if its step cannot have told; empty if it can."""
    if ended.out_of_memory:
        return f"it ran out of memory: it may use {memory}"
    if ended.code == 128 + signal.SIGKILL:
        return "it was killed (SIGKILL)"
    return "" if ended.code in {0, 1, 2} else f"its container ended with exit code {ended.code}"


def find(client: docker.DockerClient, image: str) -> str:
    """Return an image's id; podman knows one that was built here under `localhost/`.

    Raises:
        ImageNotFound: If it is not there.
    """
    try:
        return str(client.images.get(image).id)
    except ImageNotFound:
        return str(client.images.get(f"localhost/{image}").id)


def end(container: Container) -> None:
    """End a container, if it still runs, and remove it.

    All its processes are asked to end, since the shell that is its first one would not pass a signal on, and training
    writes a checkpoint when it is asked.
    """
    with contextlib.suppress(*FAILURES):
        container.reload()
        if container.status == "running":
            container.exec_run(["sh", "-c", "kill -TERM -1"])
            container.wait(timeout=_GRACE_SECONDS)
    with contextlib.suppress(*FAILURES):
        container.remove(force=True)


def reason(error: Exception) -> str:
    """Return why a call of the Docker API failed, in one line."""
    return str(getattr(error, "explanation", None) or error).splitlines()[0][:300]


def home_digest() -> str:
    """Return what stands for this home in labels, which name no path of this machine."""
    return sha256_json(str(home()))[:16]


def _environment(connected: bool) -> dict[str, str]:
    """Return the variables that containers get of this process's; secrets and certificates only with a network."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED) and name not in _KEPT_BACK}
    if connected:
        return passed | {name: os.environ[name] for name in BUNDLES if name in os.environ}
    return {name: value for name, value in passed.items() if not name.startswith("AWS_") and name not in BUNDLES}


@contextlib.contextmanager
def _on_signals(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Handle SIGINT and SIGTERM, which only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
