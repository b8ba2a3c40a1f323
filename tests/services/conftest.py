"""PostgreSQL, an S3 store, and MLflow on both with passwords: what a cluster has, as processes of this machine."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

USER, PASSWORD = "longtail", "a-password-that-must-stay-one"
BUCKET = "images"
AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {database}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


class Services:
    """The servers together, and what a client of them has in its environment."""

    def __init__(self, servers, folder):
        self.store = servers.Seaweed(folder / "store").start()
        self.postgres = servers.Postgres(folder / "postgres").start()
        auth = folder / "auth.ini"
        auth.write_text(AUTH.format(database=self.postgres.create("auth"), user=USER, password=PASSWORD))
        own = {
            "MLFLOW_AUTH_CONFIG_PATH": str(auth),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            **servers.s3_variables(self.store.port),
        }
        address = ("--backend-store-uri", self.postgres.create("mlflow"))
        files = ("--artifacts-destination", f"s3://{BUCKET}/mlflow")
        self.mlflow = servers.Mlflow(folder / "mlflow", *address, *files, "--app-name", "basic-auth", variables=own)
        self.mlflow.start()
        self.variables = {
            **servers.s3_variables(self.store.port),
            "MLFLOW_TRACKING_URI": self.mlflow.uri,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "LONGTAIL_TRACKING": "strict",
        }

    def stop(self):
        for server in (self.mlflow, self.store, self.postgres):
            server.kill()


@pytest.fixture(scope="session")
def services(servers, request):
    folder = Path(tempfile.mkdtemp(prefix="longtail-services-"))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own
    started = Services(servers, folder)
    yield started
    started.stop()
    if not request.session.testsfailed:  # else the servers' logs are wanted
        shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def environment(services):
    """Make this process a client of the services."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "KFP_", "LONGTAIL_", "AWS_")):
                patch.delenv(name)
        for name, value in services.variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def digits(services, tmp_path_factory):
    """Scanned digits as Parquet files in the store; returns their address."""
    from io import BytesIO

    from PIL import Image

    from longtail.data.digits import arrays

    images, labels = arrays()
    encoded = []
    for pixels in images:
        buffer = BytesIO()
        Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    cells = pa.array(encoded, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table, folder = pa.table({"image": cells, "label": pa.array(labels, pa.int64())}), tmp_path_factory.mktemp("digits")
    for name, part in (("train", table.slice(0, 1297)), ("test", table.slice(1297))):
        pq.write_table(part, folder / f"{name}.parquet")
        services.store.client().upload_file(str(folder / f"{name}.parquet"), BUCKET, f"digits/{name}.parquet")
    return f"s3://{BUCKET}/digits"


class Command:
    """A `longtail` command in a process of its own, with an empty home: a new pod."""

    def __init__(self, folder, *arguments, **variables):
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *map(str, arguments)],
            env=os.environ
            | {
                "LONGTAIL_HOME": str(self.home),
                "XDG_CACHE_HOME": str(folder / "cache"),
                "LONGTAIL_EVENTS": str(folder / "events.jsonl"),
                "OMP_NUM_THREADS": "1",
            }
            | variables,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self):
        files = [self.home.parent / "events.jsonl", *self.home.glob("runs/*/events.jsonl")]
        return [json.loads(line) for file in files if file.is_file() for line in file.read_text().splitlines()]

    def wait_for(self, step, kind, text=""):
        """Wait until a step tells something."""
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and self.process.poll() is None:
            for event in self.events():
                if (event["step"], event["kind"]) == (step, kind) and text in event.get("message", ""):
                    return
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"{step} did not tell {kind} {text!r}: {self.process.communicate()}")

    def end(self):
        out, err = self.process.communicate(timeout=1500)
        return self.process.returncode, out, err


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """Start a command in a new pod: `command(*arguments, **variables)`; it is killed at the end."""
    started = []

    def start(*arguments, **variables):
        started.append(Command(tmp_path_factory.mktemp("pod"), *arguments, **variables))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
