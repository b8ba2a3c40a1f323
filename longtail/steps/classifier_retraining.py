"""Step 5, once for each method: retrain the classifier on the frozen features and publish the whole model."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from longtail.calibration.artifact import Samples
from longtail.config import RetrainingConfig
from longtail.data.dataset import Dataset
from longtail.features import Features
from longtail.networks import load, save
from longtail.networks.classifier import RawImageModel
from longtail.retraining import retrain
from longtail.steps.execution import Context
from longtail.tracking.model import log_classifier


def run(config: RetrainingConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `classifier` artifact that it writes; the model that reads raw images goes to MLflow."""
    classifier, manifest = load(context.inputs["backbone"])
    features = Features.open(context.inputs["features"])
    samples = Samples.open(context.inputs["samples"])
    dataset = Dataset.open(context.inputs["dataset"])
    out = context.outputs["classifier"]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Named so that what a killed attempt left is removed when the next one writes its artifact.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
        result = retrain(
            context.method,
            classifier,
            features,
            samples,
            config,
            seed=context.seed,
            work=Path(work),
            on_epoch=context.on_epoch(config.epochs),
        )
    fields = {
        "method": context.method,
        "dataset_digest": manifest["dataset_digest"],
        "features_digest": features.digest,
    }
    save(result, out, fields)
    example = dataset.split("test").images(np.arange(2))
    described = {"method": context.method, "dataset_digest": dataset.digest, "subset_sha256": dataset.subset_sha256}
    uri = log_classifier(context.run, RawImageModel(result), example, dataset.class_names, context.method, described)
    return {"classifier": {"method": context.method, "model_uri": uri}}
