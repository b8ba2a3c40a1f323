"""Where results come from: what each step records of itself in its outputs' metadata, and what it hands on."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtail.artifacts import artifact_digest, sha256_file, sha256_json
from longtail.steps.registry import Step
from longtail.tracking.run import Run, git_commit

IMAGE = "LONGTAIL_IMAGE"
"""Variable with the container image that the step runs in."""
_NUMBERS = 8
"""That a step's note has room for."""


@dataclass(frozen=True)
class Provenance:
    """What an artifact descends from.

    Attributes:
        lineage: What each step before recorded of itself, by label; see `record`.
        data: The data that all started from; see `described_data`. Empty if unknown.
    """

    lineage: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def joined(cls, metadata: Iterable[Mapping[str, Any]]) -> "Provenance":
        """Return what the inputs of a step descend from, from their metadata."""
        lineage: dict[str, dict[str, Any]] = {}
        data: dict[str, Any] = {}
        for entry in metadata:
            lineage |= entry.get("lineage", {})
            data |= entry.get("data", {})
        return cls(lineage, data)


def described_data(
    name: str, source: str, digest: str, train: str, folders: Mapping[str, Path]
) -> dict[str, dict[str, str] | str]:
    """Return what the steps after the one that read the data need to know of it.

    Args:
        name: Name of the data set.
        source: Its path or address.
        digest: SHA-256 of its content.
        train: SHA-256 of the choice of training rows.
        folders: Folder of each split, with the numbers of its rows in `ids.npy`.
    """
    splits = {split: sha256_json([digest, sha256_file(folder / "ids.npy")]) for split, folder in folders.items()}
    return {"name": name, "source": source, "digest": digest, "splits": splits | {"train": train}}


def log_data(run: Run, data: Mapping[str, Any], splits: Iterable[str]) -> None:
    """Log to a run which splits of the data it reads, and the data's digest as a tag."""
    if not data:
        return
    run.set_tags({"dataset_digest": data["digest"]})
    for split in splits:
        if split in data["splits"]:
            context = "training" if split == "train" else split
            run.log_dataset(f"{data['name']}-{split}", data["splits"][split], context, data["source"])


def image_tags() -> dict[str, str]:
    """Return the digest of the image that this process runs in as a tag, if it is known."""
    digest = os.environ.get(IMAGE, "").partition("@")[2]
    return {"image_digest": digest} if digest else {}


def record(
    run_id: str,
    seed: int,
    started: float,
    seconds: float,
    outputs: Mapping[str, Path],
    described: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what a step records of itself.

    Args:
        run_id: Its MLflow run; empty if tracking failed.
        seed: The pipeline's seed.
        started: When it began, in seconds since 1970.
        seconds: What it took, up to now.
        outputs: What it wrote.
        described: Metadata of its outputs.
    """
    return {
        "run_id": run_id,
        "pipeline_run": os.environ.get("KFP_RUN_ID", ""),
        "git_commit": git_commit(),
        "image": os.environ.get(IMAGE, ""),
        "seed": seed,
        "started": round(started, 1),
        "seconds": round(seconds, 2),
        "sentence": _sentence(described),
        "sha256": {name: digest for name, path in outputs.items() if (digest := content_sha256(path))},
    }


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of an artifact's manifest, or of a file; empty if there is neither."""
    if path.is_dir():
        return artifact_digest(path)
    return sha256_file(path) if path.is_file() else ""


def note(step: Step, described: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in a sentence or two what a step does and what it found.

    Args:
        step: The step.
        described: Metadata of its outputs, of which a `sentence` tells it all.
    """
    summary = f"{step.summary[:1].upper()}{step.summary[1:]}"
    found = _sentence(described)
    if not found:
        values = {name: value for entry in described.values() for name, value in entry.items()}
        found = ", ".join(f"{_words(name)} {_text(value)}" for name, value in list(_told(values).items())[:_NUMBERS])
        found = f"{found[:1].upper()}{found[1:]}"
    return f"{summary}. {found}".rstrip(" .") + "."


def _sentence(described: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a step says of its result, if it says anything."""
    return " ".join(entry["sentence"] for entry in described.values() if "sentence" in entry)


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers and short texts."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) or (isinstance(value, str) and value and not name.endswith("sha256"))
    }


def _words(name: str) -> str:
    return name.rpartition("/")[2].replace("_", " ")


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
