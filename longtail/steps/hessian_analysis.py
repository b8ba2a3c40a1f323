"""Step 6: the curvature of the trained network, whole and layer by layer."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from longtail.artifacts import sha256_json
from longtail.config import HessianConfig, to_dict
from longtail.data.dataset import Dataset, Split
from longtail.hessian import Report, analyze
from longtail.hessian.comparison import Comparison, compare_layers, size_control
from longtail.hessian.figures import density_figure, depth_figure
from longtail.hessian.spectra_figures import distance_figure
from longtail.hessian.subset import balanced_rows
from longtail.locks import exclusive
from longtail.networks import ImageClassifier, load
from longtail.pages import Details, Plot, Section, Table, Text, html_report
from longtail.steps.execution import Context, home_folder

_NAMES = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix", "residual": "Hessian less the Gauss-Newton matrix"}


def run(config: HessianConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `curvature` artifact that it writes, with its page."""
    classifier, manifest = load(context.inputs["backbone"])
    dataset = Dataset.open(context.inputs["dataset"])
    batches = _batches(classifier, dataset.split("train"), config)
    asked = sha256_json([to_dict(config), dataset.digest, manifest["files"], context.seed])
    journal = home_folder("hessian") / asked[:32]
    with exclusive(journal):
        report = analyze(
            classifier,
            F.cross_entropy,
            batches,
            curvature=config.curvature,
            probes=config.probes,
            traces=config.traces,
            exact=config.exact,
            lanczos_steps=config.lanczos_steps,
            densities=config.densities,
            density_runs=config.density_runs,
            seed=context.seed,
            journal=journal,
            progress=context.phases("products"),
        )
    report.save(context.outputs["curvature"])
    figures = {
        "spectral_density": (density_figure(report), "Spectral density, whole network and layers"),
        "curvature_by_depth": (depth_figure(report), "Trace and top eigenvalue of each layer"),
    }
    if config.densities:
        figures["spectral_distance"] = (distance_figure(report), "Distance of layers' spectra to the whole network's")
    for name, (figure, _) in figures.items():
        context.run.log_figure(figure, f"{name}.png")
    context.run.log_metrics({"hessian/trace": report.full.trace, "hessian/top_eigenvalue": report.full.top_eigenvalue})
    context.run.log_metrics({f"hessian/trace/{name}": layer.trace for name, layer in report.layers.items()})
    context.run.log_metrics({
        f"hessian/top_eigenvalue/{name}": layer.top_eigenvalue for name, layer in report.layers.items()
    })
    page = _page(report, config, {name: Plot(figure, alt) for name, (figure, alt) in figures.items()})
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"curvature": {"trace": report.full.trace, "top_eigenvalue": report.full.top_eigenvalue}}


def _page(report: Report, config: HessianConfig, plots: dict[str, Plot]) -> str:
    summary = (
        f"{_NAMES[config.curvature]} of the cross-entropy on {report.samples} training images, at most "
        f"{config.images_per_class} of a class, in eval mode; mean loss {report.loss:.3g}. "
        f"The analysis cost {report.cost:.0f} passes forward and backward over these images."
    )
    sections = [
        Section("Spectral density", [Text(summary), plots["spectral_density"]]),
        Section("By depth", [plots["curvature_by_depth"], _layer_table(report)]),
    ]
    if config.densities:
        sections.append(Section("Layers and the whole", _comparison(report, plots["spectral_distance"])))
    return html_report(
        "Hessian of the trained network", [*sections, Section("Settings", [Details("hessian", to_dict(config))])]
    )


def _layer_table(report: Report) -> Table:
    header = [
        "layer",
        "parameters",
        "trace",
        "standard error: probes",
        "and choice of images",
        "top eigenvalue",
        "its residual",
        "effective rank",
        "outliers",
    ]
    rows: list[list[str | float | None]] = [
        [
            name,
            layer.parameters,
            layer.trace,
            layer.trace_stderr,
            layer.trace_sampling_stderr,
            layer.top_eigenvalue,
            layer.top_residual,
            layer.effective_rank,
            layer.outliers,
        ]
        for name, layer in [("whole network", report.full), *report.layers.items()]
    ]
    return Table(header, rows)


def _comparison(report: Report, plot: Plot) -> list[Text | Plot | Table]:
    """Return the distances between layers' spectra and the whole network's, and what their size explains."""
    found = compare_layers(report)
    measures = [field.name for field in dataclasses.fields(Comparison)]
    rows: list[list[str | float | None]] = [
        [name, *dataclasses.astuple(comparison)] for name, comparison in found.items()
    ]
    control = size_control(
        [comparison.curvature_scaled for comparison in found.values()],
        [report.layers[name].parameters for name in found],
    )
    told = ", ".join(
        f"{what} {'undefined' if value is None else f'{value:+.2f}'}"
        for what, value in (
            ("with size", control.size),
            ("with distance from the middle, given size", control.depth_given_size),
        )
    )
    note = f"Rank correlation of the distance between shares of the curvature: {told}."
    return [Text(note), plot, Table(["layer", *(name.replace("_", " ") for name in measures)], rows)]


def _batches(
    classifier: ImageClassifier, split: Split, config: HessianConfig
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the subset's images, as the network reads them, and their labels."""
    labels = np.asarray(split.labels)
    rows = torch.from_numpy(balanced_rows(labels, config.images_per_class))
    return [
        (
            classifier.preprocess(torch.from_numpy(split.images(part.numpy()))),
            torch.from_numpy(labels[part.numpy()]),
        )
        for part in rows.split(config.batch_size)
    ]
