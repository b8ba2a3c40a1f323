from pathlib import Path

import pytest

from longtail.data import folders
from longtail.data.folders import entry, file_names, folder_names, local_file, open_folder
from longtail.data.object_store import StoredFolder, StoredObject
from longtail.errors import InputError

NAMES = ("b.png", "a.txt", ".hidden", "cats/1.png", "dogs/2.png", ".cache/x")


@pytest.fixture(params=["here", "stored"])
def folder(request, tmp_path, monkeypatch):
    """A folder with equal content on this machine and in a store, from which the path of a copy comes."""
    root = StoredFolder("s3://bucket/toy", None)
    for name in NAMES:
        (tmp_path / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / name).write_text(name)
        parent, place = root, name.split("/")
        for part in place[:-1]:
            parent = parent.folders.setdefault(part, parent / part)
        parent.files[place[-1]] = StoredObject("", "bucket", f"toy/{name}", "1", 1)

    def fetch(objects, client):
        return {name: tmp_path / stored.key for name, stored in objects.items()}

    monkeypatch.setattr(folders, "fetch", fetch)
    monkeypatch.setattr(folders, "list_folder", lambda url: root)
    return open_folder(str(tmp_path / "toy") if request.param == "here" else "s3://bucket/toy")


def test_both_look_the_same(folder):
    assert folder.name == "toy"
    assert folder_names(folder) == ["cats", "dogs"]
    assert file_names(folder) == ["a.txt", "b.png"]
    assert file_names(folder / "cats") == ["1.png"]
    assert local_file(folder, "cats/1.png").read_text() == "cats/1.png"
    assert folder_names(folder / "none") == file_names(folder / "none") == []


def test_an_entry_names_a_file(folder):
    found = entry(folder / "cats", "1.png")
    assert found == Path(str(folder)) / "cats" / "1.png" if isinstance(folder, Path) else found.key == "toy/cats/1.png"


def test_a_store_that_fails_is_no_bad_file(folder, monkeypatch):
    if isinstance(folder, Path):
        return

    def refuse(objects, client):
        raise InputError("the store answered AccessDenied")

    monkeypatch.setattr(folders, "fetch", refuse)
    with pytest.raises(RuntimeError, match="the store answered AccessDenied"):
        local_file(folder, "a.txt")
