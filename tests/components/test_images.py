import ast
import json

import pytest
from kfp.dsl import base_component

from components import images, readme
from longtail.errors import InputError

SOURCES = sorted(readme.FOLDER.rglob("*.py"))


def test_name_and_tag_without_a_digest(tmp_path, monkeypatch):
    _write(tmp_path, monkeypatch, {"name": "host/longtail", "tag": "1.2", "digest": ""})
    assert images.image("cpu") == "host/longtail:1.2"


def test_the_digest_wins_over_the_tag(tmp_path, monkeypatch):
    _write(tmp_path, monkeypatch, {"name": "host/longtail", "tag": "1.2", "digest": "sha256:" + "0" * 64})
    assert images.image("cpu") == "host/longtail@sha256:" + "0" * 64


def test_an_image_that_was_never_built(tmp_path, monkeypatch):
    _write(tmp_path, monkeypatch, {"name": "host/longtail", "tag": "1.2", "digest": ""})
    with pytest.raises(InputError, match="has no 'cuda' image: build it with `make images`"):
        images.image("cuda")


def _write(folder, monkeypatch, entry):
    (folder / "images.json").write_text(json.dumps({"cpu": entry}))
    monkeypatch.setattr(images, "IMAGES", folder / "images.json")


@pytest.mark.parametrize("name", readme.names())
def test_every_component_takes_its_image_from_here(name):
    tree = ast.parse((readme.FOLDER / name / "component.py").read_text())
    decorator = next(node for node in tree.body if isinstance(node, ast.FunctionDef)).decorator_list[0]
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
    variant = readme.read_metadata(name)["image"].upper()
    assert given == {"base_image": f"images.{variant}", "install_kfp_package": "False"}


def test_no_other_file_names_an_image():
    names = {entry["name"] for entry in json.loads(images.IMAGES.read_text()).values()}
    sources = [*SOURCES, *(readme.FOLDER.parent / "pipelines").rglob("*.py")]
    assert [path for path in sources for name in names if name in path.read_text()] == []


@pytest.mark.parametrize("name", readme.names())
def test_the_compiled_component_runs_in_that_image(name):
    component = readme.load(name)
    assert isinstance(component, base_component.BaseComponent)
    assert component.component_spec.implementation.container.image == images.CPU
