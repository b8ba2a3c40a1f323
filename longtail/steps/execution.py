"""Running one step: settings parsed, inputs checked, tracked, outputs described."""

import importlib
import logging
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from longtail.artifacts import sha256_json
from longtail.config import parse, to_dict
from longtail.errors import InputError
from longtail.progress import Progress, progress
from longtail.retries import at_work
from longtail.steps import events
from longtail.steps.provenance import Provenance, content_sha256, image_tags, log_data, note, record
from longtail.steps.registry import EVERY_STEP, Step
from longtail.storage.artifacts import local_artifact, local_outputs
from longtail.storage.client import is_url
from longtail.tracking.run import Run, home, step_run
from longtail.tracking.system_metrics import system_metrics

log = logging.getLogger(__name__)

METADATA_VERSION = 1


class ArtifactLike(Protocol):
    """What a step needs of an artifact; Kubeflow's own artifacts have it."""

    path: str
    metadata: dict[str, Any]


@dataclass
class Artifact:
    """An artifact on disk or under `s3://`, for calls from the command line."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a step's function gets beside its settings.

    Attributes:
        inputs: Folder, or list of folders, of each input artifact.
        outputs: Where each output appears.
        seed: The step's own child of the pipeline's seed.
        pipeline_seed: The pipeline's seed.
        method: The retraining method, for the step that runs once for each.
        run: The MLflow run.
        provenance: What the inputs descend from.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Path]
    seed: int
    pipeline_seed: int
    method: str
    run: Run
    provenance: Provenance = field(default_factory=Provenance)

    def progress(self, unit: str) -> Progress:
        """Return a function that shows progress, called with (done, total)."""
        return progress("done", unit)

    def phases(self, unit: str) -> Callable[[str, int, int], None]:
        """Return a function that shows progress in phases, called with (phase, done, total)."""
        shown: dict[str, Progress] = {}
        return lambda phase, done, total: shown.setdefault(phase, progress(phase, unit))(done, total)

    def on_epoch(self, epochs: int, prefix: str = "") -> Callable[[int, dict[str, float]], None]:
        """Return a function that logs an epoch's metrics in one batch and shows them in one line.

        Args:
            epochs: In all.
            prefix: Put before the names of the metrics.
        """

        def report(epoch: int, metrics: dict[str, float]) -> None:
            self.run.log_metrics({f"{prefix}{name}": value for name, value in metrics.items()}, step=epoch)
            shown = "  ".join(
                f"{name.split('/')[-1]} {value:.4g}"
                for name, value in metrics.items()
                if name.count("/") == 1  # a line has no room for every layer
            )
            log.info("%sepoch %d of %d  %s", prefix.replace("/", " "), epoch, epochs, shown)

        return report


def run_step(
    name: str,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, ArtifactLike | Sequence[ArtifactLike] | None],
    outputs: Mapping[str, ArtifactLike],
    seed: int = 0,
    method: str = "",
) -> None:
    """Run a step from its input artifacts to its output artifacts and set the outputs' metadata.

    Artifacts under `s3://` are copied to this machine first, and put there when they are complete.
    Bad input ends the process with exit code 2 and one line; SIGTERM with 143.

    Args:
        name: One of `EVERY_STEP`.
        config: Settings of the step; numbers may come as floats.
        inputs: Artifacts by name; None for one that the step can do without.
        outputs: Artifacts to write by name.
        seed: The pipeline's seed; the step draws from a child of it.
        method: Retraining method, for `classifier_retraining`.
    """
    step, label = EVERY_STEP[name], f"{name}/{method}" if method else name
    started, clock = time.time(), time.monotonic()
    with events.step(label), at_work():
        settings = parse(step.config, config, step.group)
        given = {key: _local(value) for key, value in inputs.items() if value is not None}
        before = _check_inputs(given)
        logged = {**to_dict(settings), "seed": seed} | ({"method": method} if method else {})
        first, places = _is_first_process(), {key: value.path for key, value in outputs.items()}
        tracked = step_run(label, logged, image_tags(), last=step.last) if first else nullcontext(Run.silent())
        with tracked as run, _watched(run, step), local_outputs(places, deliver=first) as written:
            log_data(run, before.data, step.splits)
            folders = {key: _paths(value) for key, value in given.items()}
            context = Context(folders, written, child_seed(seed, label), seed, method, run, before)
            described = importlib.import_module(f"longtail.steps.{name}").run(settings, context)
            run.set_tags({"mlflow.note.content": note(step, described)})
            found = Provenance.joined(described.values())
            log_data(run, found.data, step.splits)
            made = record(run.run_id, seed, started, time.monotonic() - clock, written, described)
            made["settings"] = sha256_json(logged)
            data = before.data | found.data
            for key, artifact in outputs.items():
                lineage = {label: made} if key in step.brief else before.lineage | {label: made}
                origin = {"lineage": lineage, "data": data}
                artifact.metadata |= _describe(made, key) | described.get(key, {}) | origin


def child_seed(seed: int, name: str) -> int:
    """Return the seed of a named part of the work, independent of the seeds of other names."""
    state = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)
    return int(state[0]) >> 1


def _watched(run: Run, step: Step) -> AbstractContextManager[None]:
    return system_metrics(run) if step.long else nullcontext()


def _is_first_process() -> bool:
    """Return whether this process speaks for the step; `torchrun` gives each a rank."""
    return os.environ.get("RANK", "0") == "0"


def _check_inputs(inputs: Mapping[str, ArtifactLike | Sequence[ArtifactLike]]) -> Provenance:
    """Return what the inputs descend from, after comparing each with the digest its producer recorded."""
    artifacts = [
        artifact for value in inputs.values() for artifact in (value if isinstance(value, Sequence) else [value])
    ]
    for artifact in artifacts:
        expected, path = artifact.metadata.get("sha256"), Path(artifact.path)
        if not path.exists():
            raise InputError(f"{path} is missing: the cache may point at a deleted object; run again without cache")
        if expected and content_sha256(path) != expected:
            raise InputError(f"{path} does not match the digest {expected[:12]} recorded for it: write it again")
    return Provenance.joined(artifact.metadata for artifact in artifacts)


def _describe(made: Mapping[str, Any], output: str) -> dict[str, Any]:
    """Return the metadata that every output of a step has, from the step's record."""
    digest = {"sha256": made["sha256"][output]} if output in made["sha256"] else {}
    return {
        "schema_version": METADATA_VERSION,
        "git_commit": made["git_commit"],
        "seed": made["seed"],
        "mlflow_run_id": made["run_id"],
        **digest,
    }


def _local(value: ArtifactLike | Sequence[ArtifactLike]) -> ArtifactLike | Sequence[ArtifactLike]:
    """Return artifacts with those under `s3://` replaced by their copies on this machine."""
    if isinstance(value, Sequence):
        return [_local_one(entry) for entry in value]
    return _local_one(value)


def _local_one(artifact: ArtifactLike) -> ArtifactLike:
    return Artifact(str(local_artifact(artifact.path)), artifact.metadata) if is_url(artifact.path) else artifact


def _paths(value: ArtifactLike | Sequence[ArtifactLike]) -> Any:
    return [Path(entry.path) for entry in value] if isinstance(value, Sequence) else Path(value.path)


def home_folder(name: str) -> Path:
    """Return a folder that outlives the step, such as the one for checkpoints."""
    folder = home() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
