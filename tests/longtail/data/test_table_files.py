import os

import boto3
import pytest
from moto.server import ThreadedMotoServer

from longtail.config import TableConfig
from longtail.data.table_files import fetch_tables, list_tables, table_digest
from longtail.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Two files of a table, and one that is none."""
    root = tmp_path / "table"
    root.mkdir()
    for name, text in (("b.parquet", "second"), ("a.parquet", "first"), ("notes.txt", "a note")):
        (root / name).write_text(text)
    return root


@pytest.fixture
def store(folder, monkeypatch):
    """The folder in a store, at `s3://tables/mine`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "somebody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    client = boto3.client("s3")
    client.create_bucket(Bucket="tables")
    for file in folder.iterdir():
        client.upload_file(str(file), "tables", f"mine/{file.name}")
    yield client
    server.stop()


def test_a_folder_is_its_parquet_files_by_name(folder):
    assert list(list_tables(str(folder))) == ["a.parquet", "b.parquet"]
    assert fetch_tables(str(folder)) == {name: folder / name for name in ("a.parquet", "b.parquet")}


def test_a_file_may_have_any_name(folder):
    (folder / "a.parquet").rename(folder / "features.pq")
    assert list_tables(str(folder / "features.pq")) == {"features.pq": folder / "features.pq"}


@pytest.mark.parametrize(
    ("path", "message"), [("", "table.path is '': give a Parquet file"), ("none", "none holds no")]
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        list_tables(path)


def test_a_folder_without_parquet_is_named(folder):
    for file in folder.glob("*.parquet"):
        file.unlink()
    with pytest.raises(InputError, match=r"table holds no \.parquet file"):
        list_tables(str(folder))


def test_the_digest_is_of_names_and_bytes_and_not_of_places_and_times(folder, tmp_path):
    config = TableConfig(path=str(folder))
    before = table_digest(config)
    (folder / "notes.txt").write_text("another note")
    os.utime(folder / "a.parquet", (1, 1))
    assert table_digest(config) == before
    folder.rename(tmp_path / "moved")
    assert table_digest(TableConfig(path=str(tmp_path / "moved"))) == before
    (tmp_path / "moved" / "a.parquet").write_text("First")
    assert table_digest(TableConfig(path=str(tmp_path / "moved"))) != before


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("s3://tables/mine", ["a.parquet", "b.parquet"]),
        ("s3://tables/mine/", ["a.parquet", "b.parquet"]),
        ("s3://tables/mine/b.parquet", ["b.parquet"]),
    ],
)
def test_files_in_a_store_are_copied(store, folder, path, names):
    found = fetch_tables(path)
    assert list(found) == names
    assert [file.read_text() for file in found.values()] == [(folder / name).read_text() for name in names]


def test_the_digest_of_a_stored_table_changes_with_an_object(store):
    config = TableConfig(path="s3://tables/mine/a.parquet")
    before = table_digest(config)
    store.put_object(Bucket="tables", Key="mine/b.parquet", Body=b"other")
    assert table_digest(config) == before
    store.put_object(Bucket="tables", Key="mine/a.parquet", Body=b"other")
    assert table_digest(config) != before


def test_what_a_store_does_not_have_is_named(store):
    with pytest.raises(InputError, match=r"s3://tables/mine/c.parquet holds no \.parquet file"):
        list_tables("s3://tables/mine/c.parquet")
