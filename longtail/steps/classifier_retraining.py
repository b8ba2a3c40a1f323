"""Step 5, once for each method: retrain the classifier on the frozen features and publish the whole model."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from longtail.calibration.artifact import Samples
from longtail.config import RetrainingConfig
from longtail.data.dataset import Dataset
from longtail.features import Features, is_changed, write_own
from longtail.features.own import FILE
from longtail.networks import ImageClassifier, load, save
from longtail.retraining import TrainingImages, retrain
from longtail.serving import ReferenceStatistics
from longtail.steps.execution import Context
from longtail.tracking.model import log_classifier


def run(config: RetrainingConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `classifier` artifact that it writes; the model of images or rows goes to MLflow."""
    classifier, manifest = load(context.inputs["backbone"])
    features = Features.open(context.inputs["features"])
    samples = Samples.open(context.inputs["samples"])
    dataset = Dataset.open(context.inputs["dataset"]) if "dataset" in context.inputs else None
    out = context.outputs["classifier"]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Named so that what a killed attempt left is removed when the next one writes its artifact.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
        started = time.monotonic()
        result = retrain(
            context.method,
            classifier,
            features,
            samples,
            config,
            seed=context.seed,
            work=Path(work),
            images=TrainingImages(dataset.split("train"), manifest["augmentation"]) if dataset else None,
            on_epoch=context.on_epoch(config.epochs),
        )
        context.run.log_metrics({"head/total_seconds": time.monotonic() - started})
        drifted = dataset if dataset and is_changed(result.backbone, classifier.backbone) else None
        reference = _reference(result, features, drifted, Path(work), config.batch_size)
    fields = {
        "method": context.method,
        "dataset_digest": manifest["dataset_digest"],
        "features_digest": features.digest,
    }
    own = partial(write_own, result, drifted.split("test"), batch_size=config.batch_size) if drifted else None
    save(result, out, fields, own)
    described = {"subset_sha256": features.subset_sha256, **_preparation(dataset)}
    uri = log_classifier(context.run, result, features.example(), reference, fields | described)
    return {"classifier": {"method": context.method, "model_uri": uri}}


def _reference(
    result: ImageClassifier, features: Features, drifted: Dataset | None, work: Path, batch_size: int
) -> ReferenceStatistics:
    """Return statistics of the training features: the shared ones, or those of a backbone that is no longer theirs."""
    rows, labels = features.train(), features.labels("train")
    if drifted:
        write_own(result, drifted.split("train"), work, batch_size=batch_size)
        rows = np.load(work / FILE, mmap_mode="r", allow_pickle=False)
    return ReferenceStatistics.of(rows, labels, len(features.class_names))


def _preparation(dataset: Dataset | None) -> dict[str, int]:
    """Return how images were made the size that the network reads; nothing for a start from features."""
    return {name: dataset.fields["origin"][name] for name in ("image_size", "crop_size")} if dataset else {}
