import shutil
from argparse import Namespace
from collections import namedtuple

import pytest
import torch

from pipelines.doctor_finding import NOT_SET, NOTE, OK, WRONG
from pipelines.doctor_machine import disk, gpu

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.mark.parametrize(("free", "state"), [(40e9, OK), (5e9, NOTE), (1e9, WRONG)])
def test_room(home, monkeypatch, free, state):
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or Usage(100e9, 0, free))
    found = disk(Namespace())
    assert found.state == state
    assert f"{free / 1e9:.1f} GB free at {home}" in found.message
    assert asked == [home.parent]


def test_a_home_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "file" / "home"))
    assert disk(Namespace()).message.endswith("cannot be written: set LONGTAIL_HOME to another folder")


def test_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    assert gpu(Namespace()).message == "card 0, card 1"


def test_a_driver_that_pytorch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    found = gpu(Namespace())
    assert found.state == WRONG
    assert "compare `nvidia-smi` with its CUDA version" in found.message


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter(()))
    assert gpu(Namespace()).state == NOT_SET
