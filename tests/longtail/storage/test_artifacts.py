import json
import os

import numpy as np
import pytest

from longtail.artifacts import MANIFEST, artifact_digest, new_artifact, open_artifact
from longtail.errors import InputError
from longtail.storage.artifacts import check_place, join, local_artifact, local_outputs

URL = "s3://bucket/runs/dataset"


def write(path, value=1):
    with new_artifact(path, "toy", 1, {"value": value}) as folder:
        np.save(folder / "a.npy", np.full(1000, value))
        (folder / "train").mkdir()
        (folder / "train" / "b.txt").write_text(f"text {value}")


def put(value=1, url=URL):
    with local_outputs({"dataset": url}) as paths:
        write(paths["dataset"], value)


def keys(store):
    return [entry["Key"] for entry in store.list_objects_v2(Bucket="bucket").get("Contents", [])]


def test_an_artifact_comes_back_whole(store, tmp_path):
    put()
    assert keys(store) == [f"runs/dataset/{name}" for name in ("a.npy", MANIFEST, "train/b.txt")]
    folder = local_artifact(URL + "/")
    assert open_artifact(folder, "toy", 1)["value"] == 1
    write(tmp_path / "dataset")
    assert artifact_digest(folder) == artifact_digest(tmp_path / "dataset")
    assert folder.name == "dataset"


def test_paths_are_left_alone(store, tmp_path, proxy):
    with local_outputs({"dataset": str(tmp_path / "here")}) as paths:
        assert paths == {"dataset": tmp_path / "here"}
    assert local_artifact(str(tmp_path / "here")) == tmp_path / "here"
    check_place("anything")
    assert proxy.requests == []


def test_equal_content_is_copied_once_and_other_content_again(store, proxy):
    put()
    put(url="s3://bucket/copy/dataset")
    first = local_artifact(URL)
    before = len(proxy.requests)
    assert local_artifact(URL) == local_artifact("s3://bucket/copy/dataset") == first
    assert [path.rpartition("/")[2] for _, path in proxy.requests[before:]] == [MANIFEST, MANIFEST]
    put(value=2)
    second = local_artifact(URL)
    assert open_artifact(second, "toy", 1)["value"] == 2
    assert open_artifact(first, "toy", 1)["value"] == 1


def test_the_manifest_comes_last_and_an_earlier_one_goes_first(store, proxy):
    put()
    proxy.requests.clear()
    put(value=2)
    changes = [(method, path.partition("?")[0]) for method, path in proxy.requests]
    assert changes[0] == ("DELETE", f"/bucket/runs/dataset/{MANIFEST}")
    assert changes[-1] == ("PUT", f"/bucket/runs/dataset/{MANIFEST}")
    assert {method for method, _ in changes[1:]} == {"PUT"}


def test_half_an_artifact_is_none_and_what_was_made_is_kept(store, proxy, tmp_path):
    put()
    proxy.fail(*[503] * 30, only={"PUT"})
    with pytest.raises(InputError, match=r"answered SlowDown.*; what was to go there is kept in (\S+)$") as caught:
        put(value=2)
    kept = str(caught.value).rpartition(" ")[2]
    assert MANIFEST in os.listdir(kept)
    proxy.fail()
    with pytest.raises(InputError, match=f"{URL} holds no finished artifact"):
        local_artifact(URL)
    put(value=2)
    assert open_artifact(local_artifact(URL), "toy", 1)["value"] == 2
    assert not os.path.exists(kept)


def test_a_step_that_fails_puts_nothing(store):
    with pytest.raises(ZeroDivisionError), local_outputs({"dataset": URL}) as paths:
        write(paths["dataset"])
        _ = 1 / 0
    assert keys(store) == []


def test_a_further_process_puts_nothing_and_leaves_what_is_there(store):
    with local_outputs({"dataset": URL}, deliver=False) as paths:
        write(paths["dataset"])
    assert keys(store) == []
    assert paths["dataset"].is_dir()


def test_a_page_is_one_object(store):
    with local_outputs({"report": "s3://bucket/runs/evaluation.html", "further process": "s3://bucket/none"}) as paths:
        paths["report"].write_text("<p>page</p>")
    found = store.get_object(Bucket="bucket", Key="runs/evaluation.html")
    assert (found["Body"].read(), found["ContentType"]) == (b"<p>page</p>", "text/html")
    assert keys(store) == ["runs/evaluation.html"]


def test_files_are_those_of_the_manifest(store, proxy):
    put()
    store.put_object(Bucket="bucket", Key="runs/dataset/train/b.txt", Body=b"other")
    with pytest.raises(InputError, match=rf"{URL}/train/b.txt does not match its digest \w{{12}}: write it again"):
        local_artifact(URL)
    store.delete_object(Bucket="bucket", Key="runs/dataset/train/b.txt")
    with pytest.raises(InputError, match=r"the store answered 404"):
        local_artifact(URL)


def test_bytes_that_changed_on_the_way_are_found_out(store, proxy):
    put()
    proxy.fail(None, "flip", only={"GET"})
    with pytest.raises(InputError, match="FlexibleChecksumError"):  # the store's own checksum
        local_artifact(URL)
    proxy.fail()
    assert open_artifact(local_artifact(URL), "toy", 1)["value"] == 1


@pytest.mark.parametrize(
    "manifest", [b"{", b"[]", b'{"files": 1}', json.dumps({"files": {"../x": ""}}).encode(), b'{"files": {"/x": ""}}']
)
def test_a_manifest_that_is_none(store, manifest):
    store.put_object(Bucket="bucket", Key=f"runs/dataset/{MANIFEST}", Body=manifest)
    with pytest.raises(InputError, match=f"{URL}/{MANIFEST} lists no files"):
        local_artifact(URL)


def test_places_are_checked_before_any_work(store):
    check_place("s3://bucket/anything")
    with pytest.raises(InputError, match="the store answered NoSuchBucket"):
        check_place("s3://absent/x")
    with pytest.raises(InputError, match=r"^the address is not s3://BUCKET/PREFIX"):
        check_place("s3://me:secret@b/x")


def test_names_below_places():
    assert join("s3://bucket/x/", "dataset") == "s3://bucket/x/dataset"
    assert join("out", "dataset") == "out/dataset"


@pytest.mark.server
def test_a_real_store_keeps_an_artifact(seaweed, use_store, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_store(seaweed.port)
    for value in (1, 2):
        put(value, "s3://images/runs/dataset")
        assert open_artifact(local_artifact("s3://images/runs/dataset"), "toy", 1)["value"] == value
