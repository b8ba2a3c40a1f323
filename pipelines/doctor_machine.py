"""What `longtail doctor` looks at on this machine: GPU and disk."""

import argparse
import os
import shutil
from pathlib import Path

from longtail.tracking.run import home
from pipelines.doctor_finding import NOT_SET, NOTE, OK, WRONG, Finding

BYTES_NEEDED, BYTES_NOTED = 2 * 10**9, 15 * 10**9
"""Without the first no run ends; ImageNet-LT's balanced features take 11 GB, and as much again while written."""


def gpu(arguments: argparse.Namespace) -> Finding:
    """Return whether PyTorch can use a GPU."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding(OK, ", ".join(names))
    if shutil.which("nvidia-smi") or list(Path("/dev").glob("nvidia[0-9]*")):
        return Finding(
            WRONG,
            f"there is one, but PyTorch {torch.__version__} cannot use it: compare `nvidia-smi` with its CUDA version",
        )
    return Finding(NOT_SET, "none: steps on this machine use the processor")


def disk(arguments: argparse.Namespace) -> Finding:
    """Return whether there is room in the folder of local runs."""
    folder = home()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding(WRONG, f"{folder} cannot be written: set LONGTAIL_HOME to another folder")
    free = shutil.disk_usage(existing).free
    message = f"{free / 1e9:.1f} GB free at {folder}"
    if free < BYTES_NEEDED:
        return Finding(WRONG, f"{message}: free some, or set LONGTAIL_HOME to another disk")
    return Finding(OK if free >= BYTES_NOTED else NOTE, message)
