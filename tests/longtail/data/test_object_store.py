import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import numpy as np
import pytest
from botocore.exceptions import ResponseStreamingError
from moto.server import ThreadedMotoServer

from longtail.config import DataConfig
from longtail.data import object_store
from longtail.data.dataset import Dataset, build_dataset
from longtail.data.digest import source_digest
from longtail.data.object_store import fetch, list_objects
from longtail.data.sources import detect_source, load_source
from longtail.errors import InputError

SECRET = "a-secret-that-must-stay-one"


def use_store(monkeypatch, port, secret=SECRET):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def moto_port():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def store(moto_port, monkeypatch):
    use_store(monkeypatch, moto_port)
    client = boto3.client("s3")
    client.create_bucket(Bucket="images")
    yield client
    for entry in client.list_objects_v2(Bucket="images").get("Contents", []):
        client.delete_object(Bucket="images", Key=entry["Key"])


def upload(client, folder, prefix):
    for file in folder.iterdir():
        client.upload_file(str(file), "images", prefix + file.name)


CONFIG = DataConfig(source="parquet", path="s3://images/sets/toy/", imbalance_factor=3.0)


def test_reads_parquet_from_a_store(store, parquet_folder, tmp_path):
    folder = parquet_folder()
    (folder / "fine_labels.txt").write_text("p\nq\nr\n")
    upload(store, folder, "sets/toy/data/")
    assert detect_source("s3://images/sets/toy") == "parquet"
    build_dataset(CONFIG, tmp_path / "remote")
    build_dataset(DataConfig(source="parquet", path=str(folder), imbalance_factor=3.0), tmp_path / "local")
    remote, local = Dataset.open(tmp_path / "remote"), Dataset.open(tmp_path / "local")
    assert (remote.name, remote.class_names) == ("toy", ("p", "q", "r"))
    assert np.array_equal(remote.split("train").images(slice(None)), local.split("train").images(slice(None)))


def test_copies_are_kept_until_the_object_changes(store, parquet_folder, monkeypatch):
    folder = parquet_folder()
    upload(store, folder, "sets/toy/")
    load_source(CONFIG)
    before = source_digest(CONFIG)
    downloads = []
    real = object_store._download
    monkeypatch.setattr(object_store, "_download", lambda *a: (downloads.append(a[1].key), real(*a)))
    load_source(CONFIG)
    assert (downloads, source_digest(CONFIG)) == ([], before)
    store.upload_file(str(folder / "test-00000-of-00002.parquet"), "images", "sets/toy/test-00001-of-00002.parquet")
    load_source(CONFIG)
    assert downloads == ["sets/toy/test-00001-of-00002.parquet"]
    assert source_digest(CONFIG) != before


def test_an_object_that_changes_between_listing_and_reading(store):
    store.put_object(Bucket="images", Key="sets/toy/a.txt", Body=b"1")
    listed = list_objects("s3://images/sets/toy", ("",))
    store.put_object(Bucket="images", Key="sets/toy/a.txt", Body=b"2")
    with pytest.raises(InputError, match=r"the store answered (412|PreconditionFailed)"):
        fetch(listed)


def test_a_connection_that_breaks_is_tried_again(store, cache, monkeypatch):
    store.put_object(Bucket="images", Key="sets/toy/a.txt", Body=b"whole")
    real, failures = object_store._client, [1, 2]

    class Breaking:
        def __init__(self, url):
            self.client, self.meta = real(url), real(url).meta

        def get_object(self, **request):
            answer = self.client.get_object(**request)
            if failures:
                failures.pop()
                answer["Body"].iter_chunks = self.broken
            return answer

        @staticmethod
        def broken(_size):
            yield b"wh"
            raise ResponseStreamingError(error="reset")

    listed = list_objects("s3://images/sets/toy", ("",))
    monkeypatch.setattr(object_store, "_client", Breaking)
    assert fetch(listed)["a.txt"].read_bytes() == b"whole"
    assert [file.name for file in cache.rglob("*") if file.is_file()] == ["a.txt"]


def test_a_cache_folder_that_cannot_be_written(store, tmp_path, monkeypatch):
    store.put_object(Bucket="images", Key="sets/toy/a.txt", Body=b"1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"a.txt cannot be copied to .*: set XDG_CACHE_HOME"):
        fetch(list_objects("s3://images/sets/toy", ("",)))


def test_missing_bucket_and_empty_prefix(store):
    with pytest.raises(InputError, match=r"s3://absent/x at 127.0.0.1:\d+: the store answered NoSuchBucket"):
        load_source(DataConfig(source="parquet", path="s3://absent/x"))
    with pytest.raises(InputError, match=r"s3://images/none holds no train\*.parquet"):
        load_source(DataConfig(source="parquet", path="s3://images/none"))
    with pytest.raises(InputError, match=r"which is all that is read from s3://"):
        detect_source("s3://images/none")


def test_unreachable_store(monkeypatch):
    use_store(monkeypatch, free_port())
    started = time.monotonic()
    with pytest.raises(InputError, match="EndpointConnectionError; check AWS_ENDPOINT_URL") as caught:
        load_source(CONFIG)
    assert time.monotonic() - started < 15
    assert SECRET not in str(caught.value)


def test_no_credentials(monkeypatch):
    use_store(monkeypatch, free_port())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="NoCredentialsError"):
        load_source(CONFIG)


def test_keys_in_the_address_are_refused_and_not_repeated(monkeypatch):
    with pytest.raises(InputError, match="set AWS_") as caught:
        load_source(DataConfig(source="parquet", path=f"s3://somebody:{SECRET}@images/x"))
    assert SECRET not in str(caught.value)
    use_store(monkeypatch, free_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://somebody:{SECRET}@127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="check AWS_ENDPOINT_URL") as caught:
        load_source(CONFIG)
    assert SECRET not in str(caught.value)


@pytest.fixture
def seaweed_port(tmp_path):
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("no weed binary: install the test extra")
    identity = {"accessKey": "somebody", "secretKey": SECRET}
    allowed = [{"name": "t", "credentials": [identity], "actions": ["Admin", "Read", "Write", "List"]}]
    (tmp_path / "s3.json").write_text(json.dumps({"identities": allowed}))
    (tmp_path / "weed").mkdir()
    port = free_port()
    command = [weed, "server", "-dir", tmp_path / "weed", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.port={port}", f"-s3.config={tmp_path / 's3.json'}", "-volume.max=20"]
    command += [f"-{part}.port{kind}={free_port()}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    command += [f"-s3.port.grpc={free_port()}", "-master.volumeSizeLimitMB=64"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        try:
            yield port
        finally:
            process.kill()


def create_when_ready(client):
    for _ in range(120):
        try:
            client.create_bucket(Bucket="images")
            client.put_object(Bucket="images", Key="ready", Body=b"x")
            return
        except Exception:
            time.sleep(0.5)
    pytest.fail("the store did not start")


@pytest.mark.server
def test_a_real_store_serves_data_and_refuses_a_wrong_secret(seaweed_port, parquet_folder, monkeypatch):
    use_store(monkeypatch, seaweed_port)
    client = boto3.client("s3")
    create_when_ready(client)
    upload(client, parquet_folder(), "sets/toy/")
    assert load_source(CONFIG).train.read(0).shape == (8, 8, 3)
    use_store(monkeypatch, seaweed_port, secret="wrong-" + SECRET)
    with pytest.raises(InputError, match="the store answered SignatureDoesNotMatch; check") as caught:
        load_source(CONFIG)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
