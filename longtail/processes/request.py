"""What a group of processes is asked to do, and how one of them tells why it could not."""

import dataclasses
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.errors import InputError

FAILURE = "LONGTAIL_FAILURE"
"""Names the file that a process of a group appends its failure to; a pod's is its termination message."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A training of the backbone.

    Attributes:
        config: Settings of the step.
        inputs: Path or `s3://` address of each input.
        outputs: Path or `s3://` address of each output.
        seed: The step's own seed.
        pipeline_seed: The pipeline's seed.
        run_id: The step's MLflow run; empty if it is not tracked.
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    seed: int
    pipeline_seed: int
    run_id: str = ""

    @property
    def arguments(self) -> list[str]:
        """Return what Python is to be called with in every process of the group."""
        return ["-m", "longtail.processes.worker", json.dumps(dataclasses.asdict(self), sort_keys=True)]


@contextmanager
def telling() -> Generator[None]:
    """Tell the file that LONGTAIL_FAILURE names why the block failed; one write, so that processes may share it."""
    try:
        yield
    except BaseException as error:
        code = 2 if isinstance(error, InputError) else error.code if isinstance(error, SystemExit) else 1
        message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        if place := os.environ.get(FAILURE):
            with Path(place).open("ab", buffering=0) as file:
                file.write(json.dumps({"code": code, "message": message[:2000]}).encode() + b"\n")
        raise


def raise_failure(text: str, otherwise: str) -> None:
    """Raise what the first process that failed told, as if it had happened here.

    Args:
        text: Content of the file.
        otherwise: What is known without it.

    Raises:
        InputError: If it was bad input.
        SystemExit: If the process was told to end.
        RuntimeError: If it failed otherwise.
    """
    first = text.partition("\n")[0]
    try:
        told = json.loads(first)
        code, message = told["code"], str(told["message"])
    except (ValueError, KeyError, TypeError):
        raise RuntimeError(f"{otherwise}: {first}" if first else otherwise) from None
    if code == 2:
        raise InputError(message)
    if code != 1:
        raise SystemExit(code)
    raise RuntimeError(f"{otherwise}: {message}")
