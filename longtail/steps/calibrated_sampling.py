"""Step 4: calibrate each tail class by its nearest classes and generate features until all classes are equal."""

from typing import Any

import numpy as np

from longtail.calibration.artifact import Samples, write_samples
from longtail.calibration.figures import borrowing_figure, borrowing_rows
from longtail.config import CalibrationConfig, to_dict
from longtail.features import Features
from longtail.networks import load, normalises_features
from longtail.pages import Details, Plot, Section, Table, Text, html_report
from longtail.steps.execution import Context


def run(config: CalibrationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `samples` artifact that it writes: one generated set, and the settings for fresh ones."""
    features = Features.open(context.inputs["features"])
    classifier, _ = load(context.inputs["backbone"])
    out, normalise = context.outputs["samples"], normalises_features(classifier.spec.head)
    write_samples(features, 0, config, normalise, out, seed=context.seed, progress=context.progress("features"))
    samples = Samples.open(out)
    generated = np.bincount(samples.labels, minlength=len(features.class_names))
    figure = borrowing_figure(samples, features)
    context.run.log_figure(figure, "nearest_classes.png")
    context.run.log_metrics({"sampling/generated": len(samples.labels), "sampling/balanced": samples.balanced_size})
    summary = (
        f"{len(samples.labels):,} features generated beside {samples.balanced_size - len(samples.labels):,} real ones: "
        f"up to {generated.max():,} for a class, every class now has {features.train_counts.max():,}."
    )
    header = ["class", "real", "generated", "calibrated by, with the share of its neighbours"]
    plot = Plot(figure, "Which classes calibrated which")
    page = html_report(
        "Calibrated sampling",
        [
            Section("Generated features", [Text(summary), plot, Table(header, borrowing_rows(samples, features))]),
            Section("Settings", [Details("calibration", to_dict(config))]),
        ],
    )
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"samples": {"generated": len(samples.labels)}}
