import os

import pytest

from longtail.errors import InputError
from longtail.retries import at_work
from longtail.storage import client as module
from longtail.storage.client import Download, UnreachableError, connect, download, guard, is_url, split_url, upload

URL = "s3://bucket/x"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Five megabytes, the least that S3 takes."""
    monkeypatch.setattr(module, "PART_BYTES", 5 * 2**20)


def get(client, target, **version):
    download(client, "bucket", [Download("x", target, **version)])
    return target.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 11 * 2**20])
def test_a_file_of_any_size_comes_back(store, tmp_path, proxy, size):
    (tmp_path / "file").write_bytes(data := os.urandom(size))
    client = connect(URL)
    upload(client, "bucket", [(tmp_path / "file", "x")], Metadata={"a": "1"})
    head = store.head_object(Bucket="bucket", Key="x")
    assert (head["ContentLength"], head["Metadata"]) == (size, {"a": "1"})
    assert head["ETag"].endswith('-3"') == (size > 2**20)  # in three parts
    assert get(client, tmp_path / "copy") == data
    assert get(client, tmp_path / "copy", etag=head["ETag"], size=size) == data


def test_throttling_and_broken_connections_are_tried_again(store, proxy, tmp_path):
    data = os.urandom(2**20)
    store.put_object(Bucket="bucket", Key="x", Body=data)
    client = connect(URL)
    proxy.fail(503, 500, only={"GET"})
    assert get(client, tmp_path / "copy") == data
    proxy.fail("cut", "cut", 503, only={"GET"})
    assert get(client, tmp_path / "copy") == data
    (tmp_path / "file").write_bytes(data[::-1])
    proxy.fail(503, 429, only={"PUT"})
    upload(client, "bucket", [(tmp_path / "file", "x")])
    assert store.get_object(Bucket="bucket", Key="x")["Body"].read() == data[::-1]


def test_bytes_that_changed_on_the_way_to_the_store_are_refused_by_it(store, tmp_path):
    """What the client sends carries a checksum: the store is told another one than that of the bytes."""
    client = connect(URL)
    sent = []
    client.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(dict(request.headers)))
    (tmp_path / "file").write_bytes(b"data")
    upload(client, "bucket", [(tmp_path / "file", "x")])
    assert any("x-amz-checksum" in name.lower() or "x-amz-trailer" in name.lower() for name in sent[0])


def test_work_waits_for_a_store_that_is_away_and_a_first_contact_does_not(store, proxy, caplog):
    client = connect(URL)
    proxy.fail(*[503] * 7)  # three requests an attempt
    with at_work():
        assert guard(lambda: client.list_buckets()["Buckets"][0]["Name"], client, URL) == "bucket"
    assert [record.message.split(": ")[1] for record in caplog.records if record.name == "longtail.storage.client"] == [
        "SlowDown; trying again for 60 s"
    ]
    proxy.fail(*[503] * 30)
    before = len(proxy.requests)
    with pytest.raises(UnreachableError, match=r"s3://bucket/x at 127.0.0.1:\d+: the store answered SlowDown; check"):
        guard(client.list_buckets, client, URL)
    with at_work(), pytest.raises(UnreachableError):
        guard(client.list_buckets, client, URL, patient=False)
    assert len(proxy.requests) - before == 6


def test_refusals_are_not_waited_for(store, proxy):
    client = connect(URL)
    before = len(proxy.requests)
    with at_work(), pytest.raises(InputError, match="the store answered NoSuchBucket") as caught:
        guard(lambda: client.list_objects_v2(Bucket="absent"), client, URL)
    assert not isinstance(caught.value, UnreachableError)
    assert len(proxy.requests) - before == 1


def test_no_variable_is_set_that_would_hide_a_role(store):
    before = dict(os.environ)
    connect(URL)
    assert dict(os.environ) == before


def test_certificates_are_those_of_the_variable(store, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    client = connect(URL)
    with pytest.raises(InputError, match=r"s3://bucket/x (at|cannot)|SSL|Endpoint") as caught:
        guard(client.list_buckets, client, URL)
    assert "none.pem" not in str(caught.value)


def test_addresses():
    assert is_url("s3://b") and not is_url("/b") and not is_url("s3:/b")
    assert split_url("s3://bucket/x/y/") == ("bucket", "x/y")
    assert split_url("s3://b") == ("b", "")
    for wrong in ("s3://", "s3:///x", "s3://me:hunter2@b/x", "b/x"):
        with pytest.raises(
            InputError, match=r"^the place is not s3://BUCKET/PREFIX with a plain bucket name"
        ) as caught:
            split_url(wrong, "the place")
        assert "hunter2" not in str(caught.value)
