import os
import threading
import time

import pytest

from longtail.errors import InputError
from longtail.retries import at_work
from longtail.storage import mirror as module
from longtail.storage.mirror import Mirror

URL = "s3://bucket/checkpoints/key"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key.safetensors"


def write(path, text):
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, path)


def put(path, *progresses, url=URL):
    for progress in progresses:
        with Mirror(url) as mirror:
            write(path, str(progress))
            mirror.offer(path, progress)


def found(tmp_path, progress=(), url=URL):
    return [copy.read_text() for copy in Mirror(url).further(progress, tmp_path)]


def test_the_newest_and_the_one_before_it_are_kept(store, path, tmp_path):
    put(path, (0, 5), (1, 2), (1, 10))
    assert found(tmp_path) == ["(1, 10)", "(1, 2)"]
    assert found(tmp_path, (1, 2)) == ["(1, 10)"]
    assert found(tmp_path, (1, 10)) == []
    assert sorted(os.listdir(tmp_path)) == ["key.safetensors"]
    assert len(store.list_objects_v2(Bucket="bucket")["Contents"]) == 2


def test_keys_do_not_see_each_other(store, path, tmp_path):
    put(path, (1, 1), url=f"{URL}2")
    assert found(tmp_path) == []


@pytest.mark.parametrize("damage", ["content", "metadata"])
def test_a_damaged_newest_leaves_the_one_before_it_and_is_replaced(store, path, tmp_path, caplog, damage):
    put(path, (1, 0), (2, 0))
    newest = store.head_object(Bucket="bucket", Key="checkpoints/key/1")["Metadata"]
    assert newest["progress"] == "[2, 0]"
    metadata = newest if damage == "content" else {}
    store.put_object(Bucket="bucket", Key="checkpoints/key/1", Body=b"half", Metadata=metadata)
    with Mirror(URL) as mirror:
        assert [copy.read_text() for copy in mirror.further((), tmp_path)] == ["(1, 0)"]
        assert ("key/1 is damaged" in caplog.text) == (damage == "content")
        write(path, "again")
        mirror.offer(path, (1, 50))
    assert found(tmp_path)[0] == "again"


def test_a_copy_that_its_reader_refuses_is_replaced(store, path, tmp_path):
    put(path, (1, 0), (2, 0))
    with Mirror(URL) as mirror:
        for copy in mirror.further((), tmp_path):
            if copy.read_text() == "(1, 0)":
                break
        write(path, "again")
        mirror.offer(path, (1, 50))
    assert found(tmp_path) == ["again", "(1, 0)"]


def test_no_process_replaces_what_is_further_than_its_own(store, path, tmp_path):
    put(path, (3, 0))
    with Mirror(URL) as slow:
        write(path, "slow")
        slow.offer(path, (2, 9))
    assert found(tmp_path) == ["(3, 0)"]
    put(path, (3, 1))
    assert found(tmp_path) == ["(3, 1)", "(3, 0)"]


def test_one_upload_at_a_time_and_the_newest_wins(store, path, tmp_path, monkeypatch):
    going, go, real, files = threading.Event(), threading.Event(), module.upload, []

    def upload(client, bucket, pairs, **extra):
        going.set()
        assert go.wait(30)
        files.append(pairs[0][0].read_text())
        real(client, bucket, pairs, **extra)

    monkeypatch.setattr(module, "upload", upload)
    with Mirror(URL) as mirror:
        for number in range(5):
            write(path, str(number))
            mirror.offer(path, (0, number))
            assert going.wait(30)
        go.set()
    assert files == ["0", "4"]  # what is being uploaded stays as it was, though its file was replaced
    assert found(tmp_path) == ["4", "0"]


def test_a_store_that_is_away_stops_nothing_and_is_tried_at_the_next_checkpoint(store, proxy, path, tmp_path, caplog):
    proxy.fail(*[503] * 6)
    with at_work(), Mirror(URL) as mirror:
        for number in range(2):
            write(path, str(number))
            mirror.offer(path, (0, number))
            deadline = time.monotonic() + 30
            while mirror._upload is not None and time.monotonic() < deadline:
                time.sleep(0.01)
        assert found(tmp_path) == []
        write(path, "2")
        mirror.offer(path, (0, 2))
    assert found(tmp_path) == ["2"]
    assert len([message for message in caplog.messages if "a checkpoint is not in the store" in message]) == 1


def test_a_store_that_is_away_at_the_start_is_done_without(store, proxy, tmp_path, caplog):
    proxy.fail(*[503] * 30)
    assert found(tmp_path) == []
    assert "answered SlowDown" in caplog.text and "going on without the checkpoints there" in caplog.text


def test_a_store_that_refuses_is_bad_input(store, tmp_path):
    with pytest.raises(InputError, match="the store answered NoSuchBucket"):
        found(tmp_path, url="s3://absent/checkpoints/key")
    with pytest.raises(InputError, match=r"^the address of checkpoints is not s3://BUCKET/PREFIX"):
        Mirror("s3://me:secret@b/x")


def test_a_file_system_without_second_names(store, path, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(module.os, "link", refuse)
    put(path, (1, 1))
    assert found(tmp_path) == ["(1, 1)"]


@pytest.mark.server
def test_a_real_store(seaweed, use_store, path, tmp_path):
    use_store(seaweed.port)
    url = "s3://images/checkpoints/key"
    put(path, (0, 5), (1, 2), (1, 10), url=url)
    assert found(tmp_path, url=url) == ["(1, 10)", "(1, 2)"]
