"""What all tests share: the library's logger put back, and real servers for the tests that need one."""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests beside each other, each with its own share of the processors
    os.environ.setdefault("OMP_NUM_THREADS", "1")

KEY, SECRET = "somebody", "a-secret-that-must-stay-one"
BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def logger():
    """Put the library's logger back, which a step points to its own output."""
    log = logging.getLogger("longtail")
    yield log
    log.handlers, log.level, log.propagate = [], logging.NOTSET, True


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def s3_variables(port, secret=SECRET):
    """Return all that a client of a store on this machine needs, and that keeps the user's own settings out."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }


class Server:
    """A process on loopback ports of its own that can be killed, with all it started, and started again."""

    name, seconds = "server", 120

    def __init__(self, folder):
        self.folder, self.process = folder, None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=os.environ | self.environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.options(),
            )
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.is_ready():
                return self
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"no {self.name}: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def environment(self):
        return {}

    def options(self):
        return {}


class Seaweed(Server):
    """An S3 store that keeps its objects over a restart and refuses a wrong secret."""

    name = "S3 store"

    def __init__(self, folder):
        super().__init__(folder)
        parts = ("master", "volume", "filer", "s3")
        self.ports = {f"{part}.port{kind}": free_port() for part in parts for kind in ("", ".grpc")}
        self.port = self.ports["s3.port"]
        (folder / "data").mkdir(exist_ok=True)
        identity = {"accessKey": KEY, "secretKey": SECRET}
        allowed = [{"name": "t", "credentials": [identity], "actions": ["Admin", "Read", "Write", "List"]}]
        (folder / "s3.json").write_text(json.dumps({"identities": allowed}))

    def command(self):
        weed = BIN / "weed"
        return [
            *(weed, "server", "-dir", self.folder / "data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"),
            *(f"-s3.config={self.folder / 's3.json'}", "-volume.max=200", "-master.volumeSizeLimitMB=64"),
            *(f"-{name}={port}" for name, port in self.ports.items()),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # off: their ports are fixed, so two stores would clash
        ]

    def is_ready(self):
        try:
            self.client().put_object(Bucket=self.bucket(), Key="ready", Body=b"x")
            return True
        except Exception:
            return False

    def bucket(self, name="images"):
        """Make a bucket unless it is there, and return its name."""
        client = self.client()
        if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=name)
        return name

    def client(self):
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=30),
        )


class Mlflow(Server):
    """A tracking server: by default on SQLite without passwords, and with files in its folder."""

    name = "MLflow server"

    def __init__(self, folder, *arguments, variables=None):
        super().__init__(folder)
        self.port, self.variables = free_port(), variables or {}
        self.uri = f"http://127.0.0.1:{self.port}"
        own = ["--artifacts-destination", (folder / "served").as_uri()]
        self.arguments = arguments or ("--backend-store-uri", f"sqlite:///{folder / 'server.db'}", *own)

    def command(self):
        address = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        return [sys.executable, "-m", "mlflow", "server", *address, *self.arguments]

    def environment(self):
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self.variables,
        }

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return True
        except OSError:
            return False


class Postgres(Server):
    """A fresh database cluster; its processes may not be root's."""

    name = "PostgreSQL"

    def __init__(self, folder):
        super().__init__(folder)
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not folders:
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        self.binaries, self.port = folders[-1], free_port()
        self.uri = f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}"
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        create = [self.binaries / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(create, check=True, cwd=folder, stdout=subprocess.DEVNULL, **self.options())

    def command(self):
        return [
            *(self.binaries / "postgres", "-D", self.folder / "data", "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-k", self.folder),
        ]

    def options(self):
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def is_ready(self):
        command = [self.binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def create(self, name):
        """Make a database and return its address."""
        command = [self.binaries / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name]
        subprocess.run(command, check=True)
        return f"{self.uri}/{name}"


class Servers:
    """What starts a server in a test."""

    Mlflow, Postgres, Seaweed = Mlflow, Postgres, Seaweed
    s3_variables, free_port = staticmethod(s3_variables), staticmethod(free_port)
    SECRET = SECRET


@pytest.fixture(scope="session")
def servers():
    """The classes of servers, none of them started."""
    return Servers


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    """A running S3 store with a bucket `images`, for all tests that need one."""
    server = Seaweed(tmp_path_factory.mktemp("seaweed")).start()
    yield server
    server.kill()


@pytest.fixture
def use_store(monkeypatch):
    """Return a function that points this process at a store on a port."""

    def use(port, secret=SECRET):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.delenv(name, raising=False)
        for name, value in s3_variables(port, secret).items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of MLflow to be copied: its schema takes two seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    with contextlib.chdir(file.parent):  # where the files of MLflow's default experiment will go
        MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def registered(monkeypatch):
    """Return a function that registers an empty model: `registered(client, name="fish", seed=1, **tags)`."""
    from longtail.tracking import tickets
    from longtail.tracking.registry import IDENTITY, register

    monkeypatch.setattr(tickets, "_POLL_SECONDS", 0.02)

    def make(client, name="fish", seed=1, **tags):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
        found = client.get_experiment_by_name("models")
        experiment = found.experiment_id if found else client.create_experiment("models")
        run = client.create_run(experiment)
        model = client.create_logged_model(experiment, "baseline", run.info.run_id)
        client.finalize_logged_model(model.model_id, "READY")
        identity = dict.fromkeys(IDENTITY, "x") | {"seed": str(seed)} | tags
        return register(client, name, f"models:/{model.model_id}", identity, "A model.")

    return make
