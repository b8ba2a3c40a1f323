"""Step 4: calibrate each tail class by its nearest classes and generate features for it."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.calibration.artifact import Samples, write_samples
from longtail.calibration.embedding import embed, embedding_figure
from longtail.calibration.figures import borrowing, borrowing_figure, borrowing_rows
from longtail.config import CalibrationConfig, to_dict
from longtail.features import Features
from longtail.networks import load, normalises_features
from longtail.pages import Details, Plot, Section, Table, Text, html_report
from longtail.shards import WHOLE, Shard
from longtail.steps.execution import Context

log = logging.getLogger(__name__)


def run(config: CalibrationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `samples` artifact that it writes: one generated set, and the settings for fresh ones."""
    generate(config, context)
    return tell(config, context)


def generate(config: CalibrationConfig, context: Context, shard: Shard = WHOLE) -> None:
    """Write the `samples` artifact, or a part of it."""
    features = Features.open(context.inputs["features"])
    classifier, _ = load(context.inputs["backbone"])
    out, normalise = context.outputs["samples"], normalises_features(classifier.spec.head)
    progress = context.progress("features")
    write_samples(features, 0, config, normalise, out, seed=context.seed, progress=progress, shard=shard)


def tell(config: CalibrationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the whole `samples` artifact, after writing its page and metrics."""
    features, samples = Features.open(context.inputs["features"]), Samples.open(context.outputs["samples"])
    context.run.log_metrics({"sampling/generated": len(samples.labels), "sampling/balanced": samples.balanced_size})
    page = _page(config, features, samples, context)
    context.outputs["report"].write_text(page, encoding="utf-8")
    context.run.log_text(page, "report.html")
    return {"samples": {"generated": len(samples.labels)}}


def _page(config: CalibrationConfig, features: Features, samples: Samples, context: Context) -> str:
    classes = len(features.class_names)
    generated, shares = np.bincount(samples.labels, minlength=classes), borrowing(samples, classes)
    summary = (
        f"{len(samples.labels):,} features generated beside {samples.balanced_size - len(samples.labels):,} real ones: "
        f"up to {generated.max():,} for a class, {_sizes(features.train_counts + generated)}."
    )
    nearest = borrowing_figure(shares, features)
    context.run.log_figure(nearest, "nearest_classes.png")
    plots = [Plot(nearest, "Heat map by name of the share of each class among those that calibrated a small class")]
    if embedding := embed(samples, features, shares, context.seed):
        log.info("t-SNE of %s", embedding.summary(classes))
        tsne = embedding_figure(embedding, features)
        context.run.log_figure(tsne, "tsne.png")
        plots.append(Plot(tsne, f"t-SNE map of {embedding.summary(classes)}, coloured by class"))
    header = ["class", "real", "generated", "calibrated by, with the share of its nearest classes"]
    return html_report(
        "Calibrated sampling",
        [
            Section("Generated features", [Text(summary), *plots]),
            Section("Nearest classes", [Table(header, borrowing_rows(shares, samples, features))]),
            Section("Settings", [Details("calibration", to_dict(config))]),
        ],
    )


def _sizes(counts: NDArray[np.int64]) -> str:
    """Return how many features classes have."""
    if counts.min() == counts.max():
        return f"every class now has {counts.max():,}"
    return f"classes now have {counts.min():,} to {counts.max():,}"
