"""The calls of the engine, by a stand-in for it that writes them down and answers as podman does."""

import json
import re
import sys
from pathlib import Path

import pytest

DIGEST = "sha256:" + "d" * 64
ENGINE = """#!{python}
import sys
with open({log!r}, "a") as file:
    print(*sys.argv[1:], sep=" ", file=file)
if sys.argv[1] == {failing!r}:
    sys.exit(125)
if "{{{{.Size}}}}" in sys.argv:
    print(1500000000)
if "{{{{json .RepoDigests}}}}" in sys.argv:
    print('["localhost/longtail/python-cpu@sha256:00", "host:5000/team/longtail/python-cpu@{digest}"]')
if sys.argv[1] == "run":
    print('{{"bomFormat": "CycloneDX"}}')
"""


@pytest.fixture
def engine(build, tmp_path, monkeypatch):
    log = tmp_path / "log"

    def make(failing=""):
        file = tmp_path / "podman"
        file.write_text(ENGINE.format(python=sys.executable, log=str(log), failing=failing, digest=DIGEST))
        file.chmod(0o755)
        return lambda: log.read_text().splitlines()

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(build, "IMAGES", tmp_path / "images.json")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    return make


def test_what_is_built_is_named_in_images_json(build, engine, tmp_path, monkeypatch, capsys):
    calls = engine()
    monkeypatch.setenv("BUILD_FLAGS", "--network host -v '/a b:/c:ro'")
    assert build.main(["cpu", "cuda", "--engine", "podman", "--base-image", "localhost/base:1"]) == 0
    assert json.loads((tmp_path / "images.json").read_text()) == {
        variant: {"name": f"longtail/python-{variant}", "tag": "0.1.0", "digest": ""} for variant in ("cpu", "cuda")
    }
    built = calls()[0]
    assert built.startswith("build --network host -v /a b:/c:ro --build-arg VARIANT=cpu --build-arg VERSION=0.1.0 ")
    assert re.search(r"COMMIT=[0-9a-f]{40}(-dirty)? --build-arg CREATED=\d{4}-\d\d-\d\dT", built)
    assert "--build-arg BASE_IMAGE=localhost/base:1" in built
    assert "longtail/python-cpu:0.1.0  1.50 GB" in capsys.readouterr().out
    assert json.loads((tmp_path / "sbom-cuda.cdx.json").read_text()) == {"bomFormat": "CycloneDX"}


def test_a_pushed_image_is_named_by_the_registrys_digest(build, engine, tmp_path):
    engine()
    assert build.main(["cpu", "--engine", "podman", "--push", "host:5000/team/"]) == 0
    entry = {"name": "host:5000/team/longtail/python-cpu", "tag": "0.1.0", "digest": DIGEST}
    assert json.loads((tmp_path / "images.json").read_text()) == {"cpu": entry}


def test_a_build_that_fails_changes_nothing(build, engine, tmp_path, capsys):
    engine(failing="build")
    assert build.main(["cpu", "--engine", "podman"]) == 1
    assert not (tmp_path / "images.json").exists()
    assert "error: podman build failed" in capsys.readouterr().err


def test_the_base_is_fixed_by_its_content(build):
    text = (Path(build.__file__).parent / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert {line for line in text.splitlines() if line.startswith("FROM")} == {
        "FROM ${BASE_IMAGE}",
        "FROM ${BASE_IMAGE} AS dependencies",
        "FROM dependencies AS sbom",
        "FROM dependencies AS code",
    }
