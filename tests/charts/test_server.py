"""What the chart renders, run: its server on real databases and a real store, its jobs, and its test hook."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from charts.check import pod_of

pytestmark = pytest.mark.chart

ADMIN = {"username": "admin", "password": "an-admin-of-the-tests", "secret-key": "signs-the-forms-of-the-tests"}
CLIENT = {"username": "steps", "password": "steps-of-the-tests"}
SECRETS = {"longtail-mlflow-admin": ADMIN, "longtail-mlflow": CLIENT}


def only(manifest):
    """Return the one container of an object's pod."""
    (container,) = pod_of(manifest)["spec"]["containers"]
    return container


@contextlib.contextmanager
def server(machine, manifests):
    """Run the pods of the Deployment: those containers that go first, then the server until it is healthy."""
    *first, container = machine.pod(pod_of(manifests["Deployment/longtail-mlflow"])["spec"])
    for one in first:
        code, printed = machine.run(one)
        assert code == 0, printed
    log = machine.folder / "server.log"
    with log.open("w") as file:
        process = machine.start(container, stdout=file, stderr=file, start_new_session=True)
    try:
        path = container["startupProbe"]["httpGet"]["path"]
        wait_for(f"http://127.0.0.1:{machine.port}{path}", process, log)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url, process, log):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no server: {log.read_text()[-3000:]}")


def ask(machine, who, path, method="GET", **body):
    import requests

    url = f"http://127.0.0.1:{machine.port}/api/2.0/mlflow/{path}"
    auth = (who["username"], who["password"])
    return requests.request(method, url, auth=auth, json=body or None, timeout=30)


def passes_its_own_test(machine, manifests):
    code, printed = machine.run(only(manifests["Job/longtail-accounts"]))
    assert (code, "the account steps was made" in printed) == (0, True), printed
    code, printed = machine.run(only(manifests["Pod/longtail-first-run"]))
    assert code == 0, printed
    for name in ("", ".ml", ".ml.svc", ".ml.svc.cluster.local"):
        assert f"ok: a run through http://longtail-mlflow{name}:5000" in printed
    for refused in ("no password", "a wrong password", "a foreign host", "a foreign origin"):
        assert f"ok: {refused}" in printed
    for secret in (ADMIN["password"], CLIENT["password"], ADMIN["secret-key"]):
        assert secret not in printed + (machine.folder / "server.log").read_text()


def test_on_a_laptop_from_nothing_to_a_run(render, machine):
    laptop = machine(SECRETS)
    manifests = render(values="laptop")
    assert "Job/longtail-migration" not in manifests
    with server(laptop, manifests):
        passes_its_own_test(laptop, manifests)
    assert (laptop.folder / "data" / "mlflow.db").exists()
    assert list((laptop.folder / "data" / "artifacts").rglob("artifact.txt"))
    assert (laptop.folder / "auth" / "auth.ini").stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def cluster(render, machine, servers, store):
    """PostgreSQL, an S3 store, what the chart renders for them, and the migration, begun before the database was."""
    folder = Path(tempfile.mkdtemp())  # in pytest's own folders nobody but this user may go
    database = servers.Postgres(folder)
    # The cluster trusts everyone; the password has what breaks carelessly written addresses and settings files.
    uri = f"{database.uri.replace('postgres@', 'postgres:p%40ss%25word@')}/mlflow"
    keys = servers.s3_variables(store.port)
    secret = {"access-key-id": keys["AWS_ACCESS_KEY_ID"], "secret-access-key": keys["AWS_SECRET_ACCESS_KEY"]}
    host = machine({**SECRETS, "longtail-database": {"uri": uri}, "longtail-s3": secret})
    store.bucket("images")
    manifests = render(
        f"s3.endpoint={keys['AWS_ENDPOINT_URL']}", "s3.region=us-east-1", "artifacts.destination=s3://images/mlflow"
    )
    log = host.folder / "migration.log"
    with log.open("w") as file:
        migration = host.start(only(manifests["Job/longtail-migration"]), stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 300
        while "waiting for the database" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
        database.start()
        database.create("mlflow")
        assert migration.wait(timeout=300) == 0, log.read_text()
        assert "waiting for the database" in log.read_text()
        assert "word@" not in log.read_text()
        yield host, manifests
    finally:
        migration.kill()
        database.kill()
        shutil.rmtree(folder, ignore_errors=True)


def test_on_postgres_and_s3(cluster, store):
    host, manifests = cluster
    with server(host, manifests):
        passes_its_own_test(host, manifests)
        keys = [item["Key"] for item in store.client().list_objects_v2(Bucket="images")["Contents"]]
        assert [key for key in keys if key.startswith("mlflow/") and key.endswith("artifact.txt")]

        stranger = {"username": "stranger", "password": "a-stranger-to-the-tests"}
        assert ask(host, ADMIN, "users/create", "POST", **stranger).ok
        name = "experiments/get-by-name?experiment_name=longtail-helm-test"
        assert ask(host, CLIENT, name).status_code == 200
        assert ask(host, stranger, name).status_code == 403
        assert ask(host, {**ADMIN, "password": "password1234"}, name).status_code == 401

        host.secrets["longtail-mlflow"] = {**CLIENT, "password": "another-one-for-the-steps"}
        for expected in ("the account steps has a new password", "the account steps is there"):
            code, printed = host.run(only(manifests["Job/longtail-accounts"]))
            assert (code, expected in printed) == (0, True), printed


def test_migration_again_changes_nothing(cluster):
    host, manifests = cluster
    code, printed = host.run(only(manifests["Job/longtail-migration"]))
    assert (code, "the database is up to date" in printed) == (0, True), printed


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("postgresql+psycopg2://me:hidden-one@127.0.0.1:1/none", "no database: .*refused"),
        ("nonsense", "the database's address is unusable"),
        ("postgresql+nodriver://me:hidden-one@127.0.0.1:1/none", "the database's address is unusable"),
    ],
)
def test_migration_says_why_there_is_no_database(render, machine, uri, reason):
    host = machine({"longtail-database": {"uri": uri}})
    code, printed = host.run(only(render("migration.waitSeconds=0")["Job/longtail-migration"]))
    assert code == 1
    assert re.search(reason, printed.splitlines()[-1]), printed
    assert "hidden-one" not in printed


@pytest.mark.parametrize(("password", "reason"), [("password1234", "insecure default"), ("", "needs a password")])
def test_server_refuses_a_password_that_everybody_knows(render, machine, password, reason):
    laptop = machine({**SECRETS, "longtail-mlflow-admin": {**ADMIN, "password": password}})
    *first, container = laptop.pod(pod_of(render(values="laptop")["Deployment/longtail-mlflow"])["spec"])
    for one in first:
        assert laptop.run(one)[0] == 0
    code, printed = laptop.run(container)
    assert code != 0
    assert reason in printed
