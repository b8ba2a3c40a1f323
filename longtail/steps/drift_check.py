"""Before a scheduled training: is there a reason for it, and what would it start from?"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from longtail.artifacts import new_artifact, write_json
from longtail.config import BackboneConfig, DataConfig, DriftConfig, to_dict
from longtail.config.drift_check import DriftCheckConfig
from longtail.drift.comparison import compare
from longtail.drift.reasons import Drift, page
from longtail.drift.reference import read_reference
from longtail.errors import InputError
from longtail.networks import load
from longtail.networks.extension import NETWORK, misfit
from longtail.steps.execution import Context
from longtail.tracking.loading import download
from longtail.tracking.registry import Version, champion, registry
from longtail.tracking.retraining import claim

SCHEMA, SCHEMA_VERSION = "longtail.drift", 1


def run(config: DriftCheckConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `drift` artifact that it writes: whether to train, on what content, from which weights.

    With a reason the start is claimed, so that no other trigger makes a second run.
    """
    version = champion_of(config.model)
    drift = drift_of(version, config.data, config.drift, context.seed)
    needed, sentence, backbone = False, drift.sentence, config.backbone
    if drift.needed:
        pipeline_run = os.environ.get("KFP_RUN_ID", "")
        start = claim(config.model, drift.digest_now, sentence, cooldown=config.cooldown, run=pipeline_run)
        needed, sentence = start.allowed, f"{sentence} {start.sentence}".strip()
    if needed and not config.from_scratch:
        backbone, note = going_on_from(version, config.backbone, drift.class_names)
        sentence = f"{sentence} {note}"
    with new_artifact(context.outputs["drift"], SCHEMA, SCHEMA_VERSION, {}) as folder:
        write_json(folder / "drift.json", drift.to_dict())
    context.outputs["report"].write_text(page(drift), encoding="utf-8")
    return {
        "drift": {
            "sentence": sentence,
            "needed": needed,
            "data_digest": drift.digest_now,
            "backbone": to_dict(backbone),
        }
    }


def champion_of(model: str) -> Version:
    """Return a model's version in use.

    Raises:
        InputError: If there is none; the message says how to make the first.
    """
    found = champion(registry(), model)
    if found is None:
        raise InputError(
            f"model {model!r} has no champion yet: make the first with `longtail run --set promotion.model={model} "
            "--set promotion.bootstrap=true`"
        )
    return found


def drift_of(version: Version, data: DataConfig, config: DriftConfig, seed: int) -> Drift:
    """Return what changed in a source since a version was trained.

    Args:
        version: The version in use.
        data: The source, and how a training set is chosen from it.
        config: What counts as a reason.
        seed: Chooses the images that are looked at.

    Raises:
        InputError: If the source cannot be read, or the version says nothing of its training.
    """
    digest = version.tags.get("source_digest", "")
    return compare(version.label, digest, lambda: read_reference(download(version.uri)), data, config, seed)


def going_on_from(version: Version, config: BackboneConfig, class_names: Sequence[str]) -> tuple[BackboneConfig, str]:
    """Return a training's settings with the version's weights to start from, if they fit, and a sentence about it.

    Args:
        version: The version in use.
        config: The settings without it.
        class_names: Classes of the source now; empty if they are those of the version.
    """
    folder: Path = download(version.uri)
    network, _ = load(folder / NETWORK)
    spec = network.spec
    reason = misfit(network, config.network, config.head, class_names or spec.class_names, spec.image_shape[2])
    if reason:
        return config, f"Training starts anew, as {version.label} does not fit: {reason}."
    uri = f"models:/{version.label}"
    return replace(config, weights=uri), f"Training goes on from {uri}."
