"""What a step's container may do, as the Docker API is told; and, marked `containers`, containers of podman."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from docker.models.containers import _create_container_args
from kfp import dsl, local

from components import images
from longtail.settings import resolve
from longtail.steps import events
from longtail.tracking.identity import SUPERVISOR
from pipelines.containers import HOME_LABEL, Containers, Ended, Engine, explanation, home_digest
from pipelines.local import run_locally
from pipelines.policy import Policy, using

ENGINE = Engine(processors=8, user="10001:10001")
SMALL = (
    "backbone.epochs=2",
    "features.views=1",
    "retraining.methods=[baseline,tailcalib]",
    "retraining.epochs=1",
    "hessian.images_per_class=1",
    "hessian.probes=2",
    "hessian.lanczos_steps=2",
    "hessian.density_runs=1",
)


def _body(containers, step="evaluation"):
    """Return the request that docker-py makes of the settings."""
    given = {"image": "image", "command": ["true"], "version": "1.41", **containers.settings(step)}
    return _create_container_args(given)


def test_a_container_may_do_no_more_than_a_step_needs(home):
    with using({"evaluation": Policy("500m", "2G", shared_memory="1Gi")}):
        body = _body(Containers(ENGINE, [Path("/data")], [home], "none"))
    host = body["host_config"]
    assert body["user"] == "10001:10001"
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["ShmSize"]) == (
        2 * 10**9,
        2 * 10**9,
        5 * 10**8,
        2**30,
    )
    assert (host["CapDrop"], host["SecurityOpt"], host["ReadonlyRootfs"]) == (["ALL"], ["no-new-privileges"], True)
    assert host["NetworkMode"] == "none"
    assert set(host["Binds"]) == {"/data:/data:ro", f"{home}:{home}:rw"}
    assert set(host["Tmpfs"]) == {"/tmp"}
    assert "UsernsMode" not in host


def test_no_more_processors_than_there_are_and_as_many_threads(home, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with using({"evaluation": Policy("32", "2G")}):
        settings = Containers(ENGINE, [], [home], "none").settings("evaluation")
    assert (settings["nano_cpus"], settings["environment"]["OMP_NUM_THREADS"]) == (8 * 10**9, "8")


def test_secrets_reach_only_a_container_with_a_network(home, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI", SUPERVISOR, "LONGTAIL_GIT_COMMIT", "OTHER"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/bundle.pem")
    without = Containers(ENGINE, [], [home], "none").settings("evaluation")["environment"]
    connected = Containers(ENGINE, [], [home], "bridge").settings("evaluation")["environment"]
    assert connected.keys() - without.keys() >= {"AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE"}
    assert "MLFLOW_TRACKING_URI" in without
    assert not {SUPERVISOR, "LONGTAIL_GIT_COMMIT", "OTHER"} & connected.keys()


def test_labels_name_no_path(home):
    labels = Containers(ENGINE, [], [home], "none").settings("evaluation")["labels"]
    assert labels[HOME_LABEL] == home_digest()
    assert not [value for value in labels.values() if "/" in value]


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(0, False), ""),
        (Ended(1, False), ""),
        (Ended(2, False), ""),
        (Ended(137, True), "it ran out of memory: it may use 2G"),
        (Ended(137, False), "it was killed (SIGKILL)"),
        (Ended(139, False), "its container ended with exit code 139"),
    ],
)
def test_what_a_step_cannot_tell_is_said(ended, said):
    assert explanation(ended, "2G") == said


# With podman


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A Docker API, by podman."""
    socket = tmp_path_factory.mktemp("podman") / "socket"
    # When a container runs out of memory its monitor leaves a file in the folder that the service was started in.
    command = ["podman", "system", "service", "--time", "0", f"unix://{socket}"]
    service = subprocess.Popen(command, cwd=socket.parent)
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            assert service.poll() is None and time.monotonic() < deadline, "podman's service does not start"
            time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", f"unix://{socket}")
            yield
    finally:
        service.terminate()
        service.wait()


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def evaluation(how: str):
    """Succeed, fail, be killed or use up the memory."""
    import os
    import signal

    if how == "succeeds":
        print("wörks")
    elif how == "fails":
        raise RuntimeError("on purpose")
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        block = bytearray()
        while True:
            block += b"x" * 10_000_000


@pytest.fixture
def run(engine, home, monkeypatch, capfd):
    """A function that runs one step, and returns whether it succeeded, its events and what it printed."""
    home.mkdir()
    file = home / "events.jsonl"
    file.touch()
    monkeypatch.setenv(events.EVENTS, str(file))
    containers = Containers(Engine(os.cpu_count(), "10001:10001"), [], [home], "none")

    def run(how):
        local.init(local.DockerRunner(), pipeline_root=str(home / "steps"), raise_on_error=True)
        try:
            with using({"evaluation": Policy("1", "300M")}), containers.installed():
                evaluation(how=how)
            succeeded = True
        except RuntimeError:
            succeeded = False
        assert not containers.running
        return succeeded, [json.loads(line) for line in file.read_text().splitlines()], capfd.readouterr().out

    return run


@pytest.mark.containers
def test_a_step_that_succeeds(run):
    succeeded, told, printed = run("succeeds")
    assert (succeeded, told) == (True, [])
    assert "wörks" in printed


@pytest.mark.containers
def test_a_step_that_fails_is_a_failure(run):
    succeeded, told, printed = run("fails")
    assert (succeeded, told) == (False, [])  # the step itself tells
    assert "RuntimeError: on purpose" in printed


@pytest.mark.containers
@pytest.mark.parametrize(
    ("how", "said"), [("killed", "it was killed (SIGKILL)"), ("greedy", "it ran out of memory: it may use 300M")]
)
def test_a_step_that_is_killed_or_runs_out_of_memory_is_a_failure_and_told(run, how, said):
    succeeded, told, _ = run(how)
    assert not succeeded
    assert told == [{"step": "evaluation", "kind": "failed", "message": said, "code": 137}]


class Process:
    """`longtail run --runner docker` in a process of its own."""

    def __init__(self, home, *arguments):
        self.home, self.before = home, set(home.glob("runs/*"))
        command = [sys.executable, "-m", "pipelines.cli", "run", "--runner", "docker", *arguments]
        environment = {**os.environ, "LONGTAIL_HOME": str(home)}
        self.process = subprocess.Popen(
            command, env=environment, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def wait_for(self, step, kind):
        deadline = time.monotonic() + 500
        while self.process.poll() is None and time.monotonic() < deadline:
            files = [run / "events.jsonl" for run in set(self.home.glob("runs/*")) - self.before]
            lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
            if any((event["step"], event["kind"]) == (step, kind) for event in map(json.loads, lines)):
                return
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"no event {kind} of {step}: {self.process.communicate()}")

    def end(self):
        out, err = self.process.communicate(timeout=500)
        assert "Traceback" not in err
        return self.process.returncode, out, [line for line in err.splitlines() if line.startswith("error: ")]


def _containers(home):
    environment = {**os.environ, "LONGTAIL_HOME": str(home)}
    code = "from pipelines.containers import home_digest; print(home_digest())"
    digest = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    label = f"label={HOME_LABEL}={digest.stdout.strip()}"
    listed = subprocess.run(
        ["podman", "ps", "--all", "--quiet", "--filter", label], check=True, capture_output=True, text=True
    )
    return listed.stdout.split()


def _settings(*changes):
    return [part for change in (*SMALL, *changes) for part in ("--set", change)]


@pytest.mark.containers
@pytest.mark.timeout(1800)
def test_the_whole_pipeline_says_what_it_says_in_processes(engine, tmp_path, monkeypatch):
    results = {}
    for runner in ("docker", "subprocess"):
        monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / runner))
        results[runner] = run_locally(resolve("digits", SMALL), runner=runner)
    assert results["docker"].table == results["subprocess"].table
    assert set(results["docker"].executed) == set(results["subprocess"].executed)
    evaluations = [(result.results / "evaluations.json").read_bytes() for result in results.values()]
    assert evaluations[0] == evaluations[1]

    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "docker"))
    again = run_locally(resolve("digits", SMALL), runner="docker")
    assert again.executed == ()
    assert again.table == results["docker"].table
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/docker/mlflow.db")
    parent = client.get_run(results["docker"].run_id)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {child.info.run_name for child in children} == {*results["docker"].executed, "run_report"}
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}


@pytest.mark.containers
@pytest.mark.timeout(1800)
def test_bad_input_is_one_line_and_code_2(engine, photographs, tmp_path):
    images = Path(shutil.copytree(photographs, tmp_path / "images"))
    images.chmod(0o755)
    (images / "train" / "cat" / "0.jpg").write_bytes(b"no picture")
    home = tmp_path / "home"
    home.mkdir()
    code, out, errors = Process(home, "--preset", "cifar10-lt", "--data", str(images), *_settings()).end()
    assert (code, out, len(errors)) == (2, "", 1)
    assert "0.jpg" in errors[0]
    (log,) = home.glob("runs/*/steps.log")
    assert errors[0] in log.read_text(encoding="utf-8"), "it was found out before any container ran"


@pytest.mark.containers
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_a_container_that_is_killed_and_a_run_that_is_interrupted(engine, tmp_path):
    def started():
        process = Process(tmp_path, *_settings("backbone.epochs=100000"))
        process.wait_for("backbone_training", "progress")
        (container,) = _containers(tmp_path)
        return process, container

    process, orphan = started()
    process.process.kill()
    process.process.communicate()
    assert _containers(tmp_path) == [orphan]

    process, container = started()
    assert container != orphan
    subprocess.run(["podman", "kill", "--signal", "KILL", container], check=True, stdout=subprocess.DEVNULL)
    assert process.end() == (1, "", ["error: backbone_training failed: it was killed (SIGKILL)"])
    assert _containers(tmp_path) == []

    process, _ = started()
    process.process.send_signal(signal.SIGINT)
    assert process.end() == (130, "", [])
    assert _containers(tmp_path) == []
