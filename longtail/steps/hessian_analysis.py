"""Step 6: the curvature of the trained network, whole and layer by layer."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from longtail.config import HessianConfig, to_dict
from longtail.data.dataset import Dataset, Split
from longtail.hessian import Report, analyze
from longtail.hessian.figures import density_figure, depth_figure
from longtail.networks import ImageClassifier, load
from longtail.pages import Details, Plot, Section, Table, Text, html_report
from longtail.steps.execution import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUBSET_SEED = 0
_NAMES = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix", "residual": "Hessian less the Gauss-Newton matrix"}


def run(config: HessianConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `curvature` artifact that it writes, with its page."""
    classifier, _ = load(context.inputs["backbone"])
    dataset = Dataset.open(context.inputs["dataset"])
    batches = _batches(classifier, dataset.split("train"), config)
    report = analyze(
        classifier,
        F.cross_entropy,
        batches,
        curvature=config.curvature,
        probes=config.probes,
        lanczos_steps=config.lanczos_steps,
        density_runs=config.density_runs,
        seed=context.seed,
        progress=context.phases("products"),
    )
    report.save(context.outputs["curvature"])
    densities, depth = density_figure(report), depth_figure(report)
    context.run.log_figure(densities, "spectral_density.png")
    context.run.log_figure(depth, "curvature_by_depth.png")
    context.run.log_metrics({"hessian/trace": report.full.trace, "hessian/top_eigenvalue": report.full.top_eigenvalue})
    context.run.log_metrics({f"hessian/trace/{name}": layer.trace for name, layer in report.layers.items()})
    context.run.log_metrics({
        f"hessian/top_eigenvalue/{name}": layer.top_eigenvalue for name, layer in report.layers.items()
    })
    page = _page(report, config, densities, depth)
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"curvature": {"trace": report.full.trace, "top_eigenvalue": report.full.top_eigenvalue}}


def _page(report: Report, config: HessianConfig, densities: "Figure", depth: "Figure") -> str:
    header = ["layer", "parameters", "trace", "standard error: probes", "and choice of images", "top eigenvalue"]
    rows: list[list[str | float | None]] = [
        [name, layer.parameters, layer.trace, layer.trace_stderr, layer.trace_sampling_stderr, layer.top_eigenvalue]
        for name, layer in [("whole network", report.full), *report.layers.items()]
    ]
    summary = (
        f"{_NAMES[config.curvature]} of the cross-entropy on {report.samples} training images, at most "
        f"{config.images_per_class} of a class, in eval mode."
    )
    return html_report(
        "Hessian of the trained network",
        [
            Section("Spectral density", [Text(summary), Plot(densities, "Spectral density, whole network and layers")]),
            Section("By depth", [Plot(depth, "Trace and top eigenvalue of each layer"), Table(header, rows)]),
            Section("Settings", [Details("hessian", to_dict(config))]),
        ],
    )


def _batches(
    classifier: ImageClassifier, split: Split, config: HessianConfig
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return a fixed subset: the same images whatever the seed, so that runs can be compared.

    It is class-balanced, but for classes with fewer images than asked, which give all of theirs.
    """
    generator, labels = np.random.default_rng(SUBSET_SEED), np.asarray(split.labels)
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[: config.images_per_class] for label in np.unique(labels)
    ]
    rows = torch.from_numpy(np.sort(np.concatenate(chosen)))
    return [
        (
            classifier.preprocess(torch.from_numpy(split.images(part.numpy()))),
            torch.from_numpy(labels[part.numpy()]),
        )
        for part in rows.split(config.batch_size)
    ]
