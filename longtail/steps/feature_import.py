"""Step 1 from features: read a table of features that were computed elsewhere."""

from typing import Any

from longtail.config import TableConfig, to_dict
from longtail.data.figures import counts_figure
from longtail.features.table_import import import_table
from longtail.pages import Details, Plot, Section, Text, html_report
from longtail.steps.execution import Context
from longtail.steps.provenance import described_data


def run(config: TableConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `features` artifact that it writes, with its page."""
    fields = import_table(config, context.outputs["features"], context.progress("rows"))
    counts, splits = fields["train_counts"], fields["splits"]
    summary = (
        f"{sum(counts):,} training rows of {fields['size']:,} features in {len(counts):,} classes, {max(counts):,} in "
        f"the largest and {min(counts):,} in the smallest; {splits['test']:,} test rows, "
        f"{'held out of each class' if fields['held_out'] else 'those that the table says'}. "
        f"Subset SHA-256 {fields['subset_sha256']}."
    )
    figure = counts_figure(counts, fields["class_names"])
    context.run.log_figure(figure, "class_counts.png")
    context.run.log_metrics({
        "data/train_rows": sum(counts),
        "data/largest_class": max(counts),
        "data/smallest_class": min(counts),
    })
    plot = Plot(figure, "Training rows of each class, sorted by count")
    page = html_report(
        "Features from a table",
        [Section("Training rows", [Text(summary), plot]), Section("Settings", [Details("table", to_dict(config))])],
    )
    context.outputs["report"].write_text(page, encoding="utf-8")
    digest, folders = fields["dataset_digest"], {name: context.outputs["features"] / name for name in splits}
    data = described_data("features", config.path, digest, digest, folders)
    described = {"subset_sha256": fields["subset_sha256"], "train_rows": sum(counts), "classes": len(counts)}
    return {"features": {**described, "data": data}}
