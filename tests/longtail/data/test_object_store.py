import dataclasses
import time

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from longtail.config import DataConfig
from longtail.data import object_store
from longtail.data.dataset import Dataset, build_dataset
from longtail.data.digest import source_digest
from longtail.data.object_store import fetch, list_folder, list_objects
from longtail.data.sources import detect_source, load_source
from longtail.errors import InputError


@pytest.fixture(scope="module")
def moto_port():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def store(moto_port, use_store):
    use_store(moto_port)
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
    with pytest.raises(InputError, match=r"s3://images/sets/toy/a.txt at .* changed while it was read: run again"):
        fetch(listed)


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
    with pytest.raises(InputError, match=r"s3://images/none holds no known data set"):
        detect_source("s3://images/none")


def test_unreachable_store(use_store, servers):
    use_store(servers.free_port())
    started = time.monotonic()
    with pytest.raises(InputError, match="EndpointConnectionError; check AWS_ENDPOINT_URL") as caught:
        load_source(CONFIG)
    assert time.monotonic() - started < 15
    assert servers.SECRET not in str(caught.value)


def test_no_credentials(use_store, servers, monkeypatch):
    use_store(servers.free_port())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="NoCredentialsError"):
        load_source(CONFIG)


def test_keys_in_the_address_are_refused_and_not_repeated(use_store, servers, monkeypatch):
    secret = servers.SECRET
    with pytest.raises(InputError, match="set AWS_") as caught:
        load_source(DataConfig(source="parquet", path=f"s3://somebody:{secret}@images/x"))
    assert secret not in str(caught.value)
    use_store(servers.free_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://somebody:{secret}@127.0.0.1:{servers.free_port()}")
    with pytest.raises(InputError, match="check AWS_ENDPOINT_URL") as caught:
        load_source(CONFIG)
    assert servers.SECRET not in str(caught.value)


@pytest.fixture
def stored_images(store, image_folder):
    """A folder of images, here and at the same place in the store; returns the folder."""
    root = image_folder()
    (root / "train" / ".cache").mkdir()
    (root / "train" / ".cache" / "x.png").write_bytes(b"")
    for file in (file for file in root.rglob("*") if file.is_file()):
        store.upload_file(str(file), "images", f"sets/folder/{file.relative_to(root).as_posix()}")
    return root


def test_reads_a_folder_of_images_from_a_store(stored_images, cache, tmp_path):
    url = "s3://images/sets/folder/"
    assert detect_source(url) == "imagefolder"
    config = DataConfig(source="imagefolder", path=url, imbalance_factor=3.0)
    build_dataset(config, tmp_path / "remote")
    build_dataset(dataclasses.replace(config, path=str(stored_images)), tmp_path / "local")
    remote, local = Dataset.open(tmp_path / "remote"), Dataset.open(tmp_path / "local")
    assert (remote.name, remote.class_names) == ("folder", ("cat", "dog"))
    assert remote.subset_sha256 == local.subset_sha256
    for split in ("train", "test"):
        assert np.array_equal(remote.split(split).images(slice(None)), local.split(split).images(slice(None)))
    copied = [file for file in cache.glob("objects/*/*") if file.is_file()]
    assert len(copied) == len(local.split("train")) + len(local.split("test"))  # what was not chosen is not copied


def test_a_changed_image_in_a_store_changes_the_digest(store, stored_images):
    config = DataConfig(source="imagefolder", path="s3://images/sets/folder")
    before = source_digest(config)
    assert source_digest(config) == before
    store.upload_file(str(stored_images / "test" / "cat" / "0.png"), "images", "sets/folder/train/cat/0.png")
    assert source_digest(config) != before


def test_a_store_that_fails_while_images_are_read_is_not_a_corrupt_image(store, stored_images, monkeypatch, tmp_path):
    def refuse(*arguments):
        raise InputError("s3://images: the store answered AccessDenied")

    monkeypatch.setattr(object_store, "_download", refuse)
    with pytest.raises(RuntimeError, match=r"^s3://images: the store answered AccessDenied$"):
        build_dataset(DataConfig(source="imagefolder", path="s3://images/sets/folder"), tmp_path / "remote")


def test_what_lies_below_an_address(store, stored_images):
    folder = list_folder("s3://images/sets")
    assert (folder.url, folder.name, list(folder.folders), folder.files) == (
        "s3://images/sets",
        "sets",
        ["folder"],
        {},
    )
    cats = folder / "folder" / "test" / "cat"
    assert (str(cats), sorted(cats.files)) == ("s3://images/sets/folder/test/cat", ["0.png", "1.png"])
    assert folder.find("folder/test/cat/0.png") is cats.files["0.png"]
    assert ((folder / "none").files, (folder / "none").folders) == ({}, {})


@pytest.mark.server
def test_a_real_store_serves_data_and_refuses_a_wrong_secret(seaweed, servers, use_store, parquet_folder):
    use_store(seaweed.port)
    upload(seaweed.client(), parquet_folder(), "sets/toy/")
    assert load_source(CONFIG).train.read(0).shape == (8, 8, 3)
    use_store(seaweed.port, secret="wrong-" + servers.SECRET)
    with pytest.raises(InputError, match="the store answered SignatureDoesNotMatch; check") as caught:
        load_source(CONFIG)
    assert servers.SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
