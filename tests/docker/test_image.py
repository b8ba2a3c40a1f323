"""The CPU image as podman runs it: who it is, what it may do, what it holds and what it must not."""

import json
import re
import subprocess

import pytest

from components import images

pytestmark = pytest.mark.containers
STRICT = ("--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")


def _podman(*arguments):
    return subprocess.run(["podman", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def _run(*command, user="10001:10001"):
    return _podman("run", "--rm", *STRICT, "--tmpfs", "/tmp", "--user", user, images.CPU, *command)


def test_not_root_by_number():
    assert _podman("image", "inspect", "--format", "{{.Config.User}}", images.CPU).strip() == "10001:10001"
    assert _podman("run", "--rm", "--network", "none", images.CPU, "id", "-u").strip() == "10001"


@pytest.mark.parametrize("user", ["10001:10001", "4321:0"])
def test_everything_works_with_a_read_only_root_as_anybody(user):
    code = (
        "import torch, torchvision, mlflow, kfp, psycopg2, matplotlib.pyplot, getpass; "
        "from pipelines import cli, longtail_pipeline; from components import images; getpass.getuser(); "
        "layer = torch.nn.Conv2d(3, 4, 3); layer(torch.randn(2, 3, 8, 8)).sum().backward(); "
        "torch.backends.cudnn.version(); torch.export.export(layer, (torch.randn(2, 3, 8, 8),)); print(images.CPU)"
    )
    assert _run("python3", "-c", code, user=user).splitlines()[-1] == images.CPU
    assert "usage: longtail" in _run("longtail", "--help", user=user)


def test_no_compiler_no_test_tools_and_no_caches():
    code = (
        "import importlib.util, pathlib, shutil; "
        "print([name for name in ('gcc', 'cc', 'g++', 'make', 'git', 'curl') if shutil.which(name)] "
        "+ [name for name in ('pip', 'pytest', 'moto', 'mypy', 'ruff') if importlib.util.find_spec(name)] "
        "+ [str(path) for home in ('/root', '/home') for path in pathlib.Path(home).glob('*/*')])"
    )
    assert _run("python3", "-c", code).strip() == "[]"


def test_the_list_of_what_it_holds_is_the_lock():
    listed = json.loads(_run("cat", "/usr/share/doc/longtail/sbom.cdx.json"))
    found = {item["name"].lower().replace("_", "-"): item["version"] for item in listed["components"]}
    code = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    installed = dict(item.lower().replace("_", "-").split("==") for item in _run("python3", "-c", code).split())
    assert found == {name: version for name, version in installed.items() if name != "longtail"}


def test_labels_and_history_name_no_path_secret_or_moving_tag():
    image = json.loads(_podman("image", "inspect", images.CPU))[0]
    labels = image["Labels"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.match(r"\d{4}-\d\d-\d\dT", labels["org.opencontainers.image.created"])
    text = json.dumps([labels, image["Config"].get("Env")])
    assert not re.search(r"(?i)password|secret|token|/work|/root|/home|:latest|://", text)
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false" in image["Config"]["Env"]
