"""Networks that were trained elsewhere: their artifacts, and the images that each was trained on."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from longtail.artifacts import MANIFEST, artifact_digest, read_json, sha256_json
from longtail.claims.measurement import Depth, Meter, middle_layers
from longtail.claims.records import Run, kept
from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.networks import load

_VERSION = 1
_IMAGES = 100  # analysed in all, as of the digits; at least one of a class


def backbone_folder(given: str, home: Path) -> Path:
    """Return the folder of a trained backbone.

    Args:
        given: The folder; or the MLflow id of the run that trained it, of a step that the local runner's cache knows.
        home: Where local runs are kept.

    Raises:
        InputError: If there is neither.
    """
    folder = Path(given)
    if (folder / MANIFEST).is_file():
        return folder
    for outputs in _cached(home):
        artifact = outputs.get("backbone", {})
        if artifact.get("metadata", {}).get("mlflow_run_id") == given:
            return Path(artifact["uri"])
    raise InputError(
        f"{given!r} is neither the folder of a backbone nor the id of a run of backbone_training in {home}: give the "
        f"folder that holds {MANIFEST} and the weights"
    )


def dataset_of(backbone: Path, candidates: Sequence[Path], home: Path) -> Dataset:
    """Return the images that a backbone was trained on, found by their digest.

    Args:
        backbone: Its folder.
        candidates: Folders of data sets to look at first.
        home: Where local runs are kept.

    Raises:
        InputError: If it is not there.
    """
    manifest = read_json(backbone / MANIFEST)
    expected = manifest.get("dataset_digest") if isinstance(manifest, dict) else None
    beside = [folder for folder in backbone.resolve().parent.parent.glob("data*imbalancing/dataset")]
    at_home = [*home.glob("steps/*/data-imbalancing/dataset")]
    cached = [Path(outputs["dataset"]["uri"]) for outputs in _cached(home) if "uri" in outputs.get("dataset", {})]
    for folder in (*candidates, *beside, *at_home, *cached):
        if (folder / MANIFEST).is_file() and artifact_digest(folder) == expected:
            return Dataset.open(folder)
    raise InputError(
        f"the data set {str(expected)[:12]} that {backbone} was trained on is not here: give its folder with --dataset"
    )


def measured(backbone: Path, dataset: Dataset, depth: Depth, folder: Path) -> Run:
    """Return the spectra of a trained backbone, computed once.

    Args:
        backbone: Its folder.
        dataset: What it was trained on.
        depth: How finely it is measured, but for the number of images.
        folder: Where runs are kept.

    Raises:
        InputError: If it is no backbone.
    """
    asked = [_VERSION, artifact_digest(backbone), dataset.digest, dataclasses.asdict(depth)]
    return kept(folder / f"network-{sha256_json(asked)[:20]}.json", lambda: _measure(backbone, dataset, depth))


def groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Return runs of the same kind of network together."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.network, []).append(run)
    return list(found.values())


def _measure(backbone: Path, dataset: Dataset, depth: Depth) -> Run:
    classifier, manifest = load(backbone)
    epochs, spec = len(manifest.get("history", ())), classifier.spec
    few = dataclasses.replace(depth, images_per_class=max(1, _IMAGES // len(spec.class_names)))
    snapshot = Meter(dataset, few).full(classifier, epochs)
    return Run(
        network=f"{spec.network} on {dataset.name}, {epochs} epochs",
        arm="as given",
        seed=0,
        classes=len(spec.class_names),
        snapshots=(snapshot,),
        middle=middle_layers(classifier, list(snapshot.layers)),
    )


def _cached(home: Path) -> list[dict[str, dict[str, Any]]]:
    """Return the outputs of the steps that the local runner's cache knows."""
    found = [read_json(path) for path in sorted(home.glob("cache/*.json"))]
    return [
        {name: value for name, value in outputs.items() if isinstance(value, dict)}
        for outputs in found
        if isinstance(outputs, dict)
    ]
