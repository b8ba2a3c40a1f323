"""The scripts beside the Dockerfile, which are no package."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docker"


def _load(name):
    spec = importlib.util.spec_from_file_location(f"docker_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build():
    return _load("build")


@pytest.fixture
def lock():
    return _load("lock")
