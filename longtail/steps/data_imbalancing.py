"""Step 1: choose a long-tailed data set from a source of images."""

from typing import Any

from longtail.config import DataConfig, to_dict
from longtail.data.dataset import build_dataset
from longtail.data.figures import counts_figure
from longtail.data.problems import listing
from longtail.pages import Details, Plot, Section, Text, html_report
from longtail.steps.execution import Context
from longtail.steps.provenance import described_data


def run(config: DataConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `dataset` artifact that it writes, with its page."""
    fields = build_dataset(config, context.outputs["dataset"], context.progress("images"))
    counts, images = fields["train_counts"], fields["splits"]
    summary = (
        f"{sum(counts):,} training images in {len(counts)} classes, {max(counts)} in the largest and {min(counts)} in "
        f"the smallest; {images['test']['images']:,} test images. Subset SHA-256 {fields['subset_sha256']}."
    )
    texts = [Text(summary), *map(Text, _remarks(fields))]
    figure = counts_figure(counts, fields["class_names"])
    context.run.log_figure(figure, "class_counts.png")
    context.run.log_metrics({
        "data/train_images": sum(counts),
        "data/largest_class": max(counts),
        "data/smallest_class": min(counts),
    })
    plot = Plot(figure, "Training images of each class, sorted by count")
    page = html_report(
        f"Data: {fields['name']}",
        [Section("Training images", [*texts, plot]), Section("Settings", [Details("data", to_dict(config))])],
    )
    context.outputs["report"].write_text(page, encoding="utf-8")
    folders = {name: context.outputs["dataset"] / split["folder"] for name, split in images.items()}
    data = described_data(
        fields["name"], config.path or config.source, fields["source_digest"], fields["subset_sha256"], folders
    )
    described = {"subset_sha256": fields["subset_sha256"], "train_images": sum(counts), "classes": len(counts)}
    return {"dataset": {**described, "data": data}}


def _remarks(fields: dict[str, Any]) -> list[str]:
    """Return what a reader of the results should know about the images."""
    remarks = [f"{fields['remark']}."] if fields["remark"] else []
    if fields["held_out"]:
        remarks.append(
            "The source has no test split: its test images were held out of each class by data.split_seed, and are the "
            "same for every data.seed."
        )
    names = fields["class_names"]
    untested = [name for name, count in zip(names, fields["test_counts"], strict=True) if not count]
    if untested:
        remarks.append(
            f"{len(untested)} classes have too few images to be tested; no accuracy counts them: {listing(untested)}."
        )
    if fields["splits"].get("validation", {}).get("folder") == "test":
        remarks.append(
            "Validation is on the test images, so accuracies of the epoch that it selects are optimistic: for parity "
            "studies alone."
        )
    return remarks
