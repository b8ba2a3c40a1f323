"""Step 5, once for each method: retrain the classifier on the frozen features and publish the whole model."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from longtail.calibration.artifact import Samples
from longtail.config import RetrainingConfig
from longtail.data.dataset import Dataset
from longtail.features import Features, is_changed, write_own
from longtail.networks import load, save
from longtail.networks.classifier import FeatureModel, RawImageModel
from longtail.networks.identity import IDENTITY
from longtail.retraining import TrainingImages, retrain
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
    fields = {
        "method": context.method,
        "dataset_digest": manifest["dataset_digest"],
        "features_digest": features.digest,
    }
    own = None
    if dataset and is_changed(result.backbone, classifier.backbone):
        own = partial(write_own, result, dataset.split("test"), batch_size=config.batch_size)
    save(result, out, fields, own)
    described = {name: getattr(features, name) for name in ("dataset_digest", "subset_sha256")}
    described["method"] = context.method
    model = FeatureModel(result) if result.spec.network == IDENTITY else RawImageModel(result)
    uri = log_classifier(context.run, model, features.example(), features.class_names, context.method, described)
    return {"classifier": {"method": context.method, "model_uri": uri}}
