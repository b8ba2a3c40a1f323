"""What a group of processes is asked to do, and how one of them tells why it could not."""

import dataclasses
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.processes.handover import put_text
from longtail.storage.client import is_url

FAILURE = "LONGTAIL_FAILURE"
"""Names the file, or the `s3://` address, where the processes of a group tell their failures."""


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
    """Tell why the block failed where LONGTAIL_FAILURE says.

    Yields:
        Nothing.
    """
    try:
        yield
    except Exception as error:
        known = isinstance(error, InputError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        line = json.dumps({"code": 2 if known else 1, "message": message[:2000]}) + "\n"
        place = os.environ.get(FAILURE, "")
        if is_url(place):
            put_text(place, line)
        elif place:
            with Path(place).open("ab", buffering=0) as file:  # one write, so that processes may share it
                file.write(line.encode())
        raise


def raise_failure(text: str, otherwise: str) -> None:
    """Raise what the first process that failed told, as if it had happened here.

    Args:
        text: Content of the file.
        otherwise: What is known without it.

    Raises:
        InputError: If it was bad input.
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
    raise RuntimeError(f"{otherwise}: {message}")
