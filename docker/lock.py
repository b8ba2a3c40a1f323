"""Write requirements-*.txt: what the images hold, each file with its hash, from setup.py and constraints.txt.

The files name wheels for Linux on x86-64 and Python 3.11, of the index that pip is set up to use. PyTorch's own index
has wheels without CUDA: `--cpu-index URL` takes those of the CPU image from there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
PROJECT = f"{ROOT}[server]"  # the MLflow server runs in the same image
_HEADER = "# Written by `make lock`: change setup.py or constraints.txt instead.\n"

BUILD = ("setuptools",)  # what builds the few packages that have no wheel
SBOM = ("cyclonedx-bom",)

GPU_ONLY = (
    "cuda-bindings",
    "cuda-pathfinder",
    "cuda-toolkit",
    "nvidia-cusolver",
    "nvidia-nvtx",
    "triton",
)
"""What PyTorch can do without on a CPU; it does not start without the other CUDA libraries, which it is linked to."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-index", default="", metavar="URL", help="index with PyTorch's wheels without CUDA")
    index = parser.parse_args(argv).cpu_index
    project = resolve([PROJECT])
    cpu = resolve([PROJECT, "--extra-index-url", index]) if index else project
    _write("cuda", requirements(project))
    _write("cpu", requirements(cpu, leave_out=GPU_ONLY), index)
    _write("build", requirements(resolve(BUILD)))
    _write("sbom", requirements(resolve(SBOM)))


def resolve(wanted: Sequence[str]) -> dict[str, Any]:
    """Return pip's report of what it would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--report", str(report), *constraints, *wanted], check=True)
        return dict(json.loads(report.read_text(encoding="utf-8")))


def requirements(report: dict[str, Any], leave_out: Sequence[str] = ()) -> Iterator[str]:
    """Yield a line for each package of a report, by name, but for the project itself.

    Raises:
        ValueError: If pip did not say the hash of a file.
    """
    entries = {
        item["metadata"]["name"].lower().replace("_", "-"): item
        for item in report["install"]
        if "dir_info" not in item["download_info"]
    }
    for name, item in sorted(entries.items()):
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest:
            raise ValueError(f"pip did not say the SHA-256 of {name}: use an index that has it")
        if name not in leave_out:
            yield f"{name}=={item['metadata']['version']} --hash=sha256:{digest}"


def _write(name: str, lines: Iterator[str], index: str = "") -> None:
    extra = f"--extra-index-url {index}\n" if index else ""
    path = FOLDER / f"requirements-{name}.txt"
    path.write_text(_HEADER + extra + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
