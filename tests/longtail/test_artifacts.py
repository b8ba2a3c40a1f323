import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from longtail.artifacts import (
    MANIFEST,
    artifact_digest,
    file_digest,
    new_artifact,
    open_artifact,
    read_json,
    sha256_file,
    sha256_json,
    write_array,
    write_json,
)
from longtail.errors import InputError

SCHEMA = "longtail.toy"


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact"
    with new_artifact(path, SCHEMA, 2, {"classes": 3}) as folder:
        (folder / "part").mkdir()
        np.save(folder / "part" / "rows.npy", np.arange(5))
        (folder / "note.txt").write_text("hello")
    return path


def edit_manifest(path, **changes):
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


def test_digests_are_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"b": 1, "a": [2]}) == sha256_json({"a": [2], "b": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_whole_artifact_is_read_back(artifact):
    manifest = open_artifact(artifact, SCHEMA, 2)
    assert (manifest["schema"], manifest["schema_version"], manifest["classes"]) == (SCHEMA, 2, 3)
    assert set(manifest["files"]) == {"note.txt", "part/rows.npy"}
    assert artifact_digest(artifact) == sha256_file(artifact / MANIFEST)
    assert os.stat(artifact).st_mode & 0o777 == 0o755


def test_block_may_add_fields_until_it_ends(tmp_path):
    fields = {}
    with new_artifact(tmp_path / "artifact", SCHEMA, 1, fields):
        fields["rows"] = 7
    assert open_artifact(tmp_path / "artifact", SCHEMA, 1)["rows"] == 7


def test_failure_in_the_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), new_artifact(tmp_path / "artifact", SCHEMA, 1, {}) as folder:
        (folder / "half").write_text("half")
        raise KeyError("stop")
    assert list(tmp_path.iterdir()) == []


def test_field_that_is_not_json_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"), new_artifact(tmp_path / "a", SCHEMA, 1, {"x": np.nan}):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [False, True])
def test_kill_inside_the_block_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "artifact"
    if before:
        with new_artifact(path, SCHEMA, 1, {"attempt": 1}):
            pass
    script = """
        import os, signal, sys
        from pathlib import Path
        from longtail.artifacts import new_artifact
        with new_artifact(Path(sys.argv[1]), "longtail.toy", 1, {"attempt": 2}) as folder:
            (folder / "half").write_bytes(bytes(1000))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    if before:
        assert open_artifact(path, SCHEMA, 1)["attempt"] == 1
    else:
        assert not path.exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_rewrite_replaces_the_whole(tmp_path, kind):
    path = tmp_path / "artifact"
    if kind == "folder":
        path.mkdir()
        (path / "old.txt").write_text("old")
    else:
        path.write_text("old")
    with new_artifact(path, SCHEMA, 1, {}) as folder:
        (folder / "new.txt").write_text("new")
    assert sorted(entry.name for entry in path.iterdir()) == [MANIFEST, "new.txt"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["artifact"]


def test_same_content_has_the_same_digest(tmp_path):
    for name in ("one", "two"):
        with new_artifact(tmp_path / name, SCHEMA, 1, {"x": 1}) as folder:
            np.save(folder / "rows.npy", np.arange(3))
    assert artifact_digest(tmp_path / "one") == artifact_digest(tmp_path / "two")


def test_missing_file(artifact):
    (artifact / "part" / "rows.npy").unlink()
    with pytest.raises(InputError, match=r"rows.npy is missing: .* run again without cache"):
        open_artifact(artifact, SCHEMA, 2)


def test_changed_byte(artifact):
    rows = bytearray((artifact / "part" / "rows.npy").read_bytes())
    rows[-1] ^= 1
    (artifact / "part" / "rows.npy").write_bytes(rows)
    with pytest.raises(InputError, match=r"rows.npy does not match its digest [0-9a-f]{12}: it was changed"):
        open_artifact(artifact, SCHEMA, 2)


@pytest.mark.parametrize("name", ["../outside.txt", "part/../../outside.txt", "/etc/hostname"])
def test_manifest_may_not_name_files_elsewhere(artifact, name):
    outside = artifact.parent / "outside.txt"
    outside.write_text("outside")
    edit_manifest(artifact, files={name: sha256_file(outside)})
    with pytest.raises(InputError, match=r"only names inside the artifact are allowed"):
        open_artifact(artifact, SCHEMA, 2)


def test_other_schema(artifact):
    with pytest.raises(InputError, match=r"holds 'longtail.toy', not 'longtail.dataset': give the output of the step"):
        open_artifact(artifact, "longtail.dataset", 2)


def test_other_version(artifact):
    with pytest.raises(InputError, match=r"schema version 2, this release reads 3: write it again"):
        open_artifact(artifact, SCHEMA, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[1]", "holds 'list', not"), ("{}", "holds None, not"), ("{", "not valid JSON"), ("\xff", "not valid JSON")],
)
def test_manifest_that_is_none(artifact, text, expected):
    (artifact / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=expected):
        open_artifact(artifact, SCHEMA, 2)


@pytest.mark.parametrize("files", [None, ["note.txt"]])
def test_manifest_without_a_list_of_files(artifact, files):
    edit_manifest(artifact, files=files)
    with pytest.raises(InputError, match=r"lists no files with their digests: write it again"):
        open_artifact(artifact, SCHEMA, 2)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"manifest.json does not exist: give the path of a finished artifact"):
        open_artifact(tmp_path / "nowhere", SCHEMA, 1)


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 0, 4], []])
def test_array_written_block_by_block_is_the_whole(tmp_path, sizes):
    whole = np.random.default_rng(0).normal(size=(3, sum(sizes))).T  # float64 in columns: blocks must be converted
    blocks = np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []
    write_array(tmp_path / "rows.npy", whole.shape, np.float32, iter(blocks))
    np.save(tmp_path / "expected.npy", np.ascontiguousarray(whole, np.float32))
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_json_round_trip_replaces_whole(tmp_path):
    path = tmp_path / "value.json"
    for value in ({"a": list(range(1000))}, {"b": "ü"}):
        write_json(path, value)
        assert read_json(path) == value
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_cannot_hold_nan(tmp_path, number):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": number})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_nan_is_not_read_as_json(tmp_path, word):
    path = tmp_path / "value.json"
    path.write_text(f'{{"a": {word}}}')
    with pytest.raises(InputError, match=rf"value.json is not valid JSON \({word}"):
        read_json(path)


def test_a_path_of_no_file_has_no_digest(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    assert file_digest(str(tmp_path / "weights")) == sha256_file(tmp_path / "weights")
    assert [file_digest(path) for path in ("", "published", str(tmp_path))] == ["", "", ""]
