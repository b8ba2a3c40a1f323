"""Step 8: what each method does to the curvature of the classifier's last layer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.artifacts import new_artifact, open_artifact, write_json
from longtail.config import HessianConfig, to_dict
from longtail.errors import InputError
from longtail.evaluation import GROUPS, class_groups
from longtail.features import Features, has_own
from longtail.head_curvature.blocks import ALL, class_traces, head_blocks, set_unit_length
from longtail.head_curvature.figures import heads_figure
from longtail.head_curvature.report import HeadCurvature, sentence, shares
from longtail.hessian.subset import balanced_rows
from longtail.networks import ImageClassifier, load_retrained, normalises_features
from longtail.pages import Details, Plot, Section, Table, Text, html_report
from longtail.steps.execution import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "longtail.heads"
SCHEMA_VERSION = 1
ROWS = 1024
"""Training rows that are classified at once for the exact traces."""
OWN_BACKBONE = "its backbone is another than the one of the training features, so they would not be what its head reads"

CURVATURE_NAMES = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix", "residual": "Residual part of the Hessian"}
_RESULTS = ("longtail.results", 1)

Members = Mapping[str, NDArray[np.int64]]


def run(config: HessianConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `head_curvature` artifact that it writes, with its page."""
    features = Features.open(context.inputs["features"])
    members = _members(context, features)
    rows = balanced_rows(features.labels("train"), config.images_per_class)
    heads: dict[str, HeadCurvature] = {}
    skipped: dict[str, str] = {}
    for _, classifier, manifest in load_retrained(context.inputs["classifiers"], features.digest):
        method = manifest["method"]
        if has_own(manifest):
            skipped[method] = OWN_BACKBONE
        else:
            heads[method] = _analysed(method, classifier, features, rows, members, config, context)
    said = sentence(heads)
    content = {
        "samples": len(rows),
        "curvature": config.curvature,
        "classes": {group: classes.tolist() for group, classes in members.items()},
        "methods": {method: head.to_dict() for method, head in heads.items()},
        "skipped": skipped,
        "sentence": said,
    }
    with new_artifact(context.outputs["head_curvature"], SCHEMA, SCHEMA_VERSION, {}) as folder:
        write_json(folder / "head_curvature.json", content)
    _log(heads, said, context)
    figure = heads_figure(heads) if heads else None
    if figure is not None:
        context.run.log_figure(figure, "head_curvature.png")
    page = html_report("Curvature of the last layer", _sections(config, content, heads, figure))
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"head_curvature": {"sentence": said}}


def _members(context: Context, features: Features) -> dict[str, NDArray[np.int64]]:
    """Return the classes of each group that has any, as the results group them."""
    path = context.inputs["results"]
    manifest = open_artifact(path, *_RESULTS)
    if manifest.get("train_counts") != features.train_counts.tolist() or "many_above" not in manifest:
        raise InputError(f"{path} is not the evaluation of these features' classes by this release: evaluate again")
    groups = np.array(
        class_groups(features.train_counts, many_above=manifest["many_above"], few_below=manifest["few_below"])
    )
    return {group: found for group in GROUPS if len(found := np.flatnonzero(groups == group))}


def _analysed(
    method: str,
    classifier: ImageClassifier,
    features: Features,
    rows: NDArray[np.int64],
    members: Members,
    config: HessianConfig,
    context: Context,
) -> HeadCurvature:
    """Return the curvature of one classifier's head, as a function of what it reads of the features."""
    head: nn.Module = classifier.head
    weight_norm = float(head.weight.detach().norm())  # type: ignore[operator]
    set_unit_length(head)
    classifier.head = nn.Identity()  # so that `classify` returns what the head would read
    exact = class_traces(head, _read(classifier, features))
    phases = context.phases("products")
    blocks, loss = head_blocks(
        head,
        classifier.classify(torch.from_numpy(features.train()[rows])),
        torch.from_numpy(features.labels("train")[rows]),
        members,
        config,
        seed=context.seed,
        progress=lambda phase, done, total: phases(f"{method} {phase}", done, total),
    )
    traces = None if exact is None else _by_group(exact.of(config.curvature), members)
    gauss_newton = None if exact is None else _by_group(exact.gauss_newton, members)
    return HeadCurvature(classifier.spec.head, classifier.tukey, loss, weight_norm, blocks, traces, gauss_newton)


def _by_group(traces: NDArray[np.float64], members: Members) -> dict[str, float]:
    """Return the sum over all classes, then over each group."""
    return {ALL: float(traces.sum()), **{group: float(traces[classes].sum()) for group, classes in members.items()}}


def _read(classifier: ImageClassifier, features: Features) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what the head reads of all training rows, and their labels, a part at a time."""
    clean, labels = features.train(), features.labels("train")
    for start in range(0, len(labels), ROWS):
        part = slice(start, start + ROWS)
        yield classifier.classify(torch.from_numpy(np.array(clean[part]))), torch.from_numpy(np.array(labels[part]))


def _log(heads: Mapping[str, HeadCurvature], said: str, context: Context) -> None:
    """Log each method's numbers to the run."""
    metrics: dict[str, float] = {}
    for method, head in heads.items():
        whole, share = head.blocks[ALL], shares(head.gauss_newton)
        metrics |= {
            f"head/trace/{method}": whole.trace,
            f"head/top_eigenvalue/{method}": whole.top_eigenvalue,
            f"head/loss/{method}": head.loss,
            f"head/weight_norm/{method}": head.weight_norm,
            **({} if whole.gauss_newton is None else {f"head/gauss_newton_trace/{method}": whole.gauss_newton}),
            **{f"head/share_{group}/{method}": value for group, value in share.items()},
        }
    context.run.log_metrics(metrics)
    context.run.log_text(said, "head_curvature.txt")


def _sections(
    config: HessianConfig, content: Mapping[str, Any], heads: Mapping[str, HeadCurvature], figure: "Figure | None"
) -> list[Section]:
    """Return the page's sections."""
    subset = (
        f"{CURVATURE_NAMES[config.curvature]} of the mean cross-entropy in the last layer's weight and bias, over the "
        f"clean features of {content['samples']} training rows, at most {config.images_per_class} of a class. Every "
        "class has its own row of the weight, so the traces of the groups add up to that of the layer."
    )
    alt = "Trace and top eigenvalue of the last layer, whole and by class group, one bar for each classifier"
    plots = [] if figure is None else [Plot(figure, alt, alt)]
    notes = [Text(note) for note in _notes(heads, content["skipped"])]
    sections = [Section("Before and after balancing", [Text(content["sentence"]), *plots, Text(subset), *notes])]
    if heads:
        sections.append(Section("Numbers", _tables(heads)))
    return [*sections, Section("Settings", [Details("hessian", to_dict(config))])]


def _notes(heads: Mapping[str, HeadCurvature], skipped: Mapping[str, str]) -> list[str]:
    """Return what a reader must know to compare these classifiers."""
    notes = [f"{method} is left out: {reason}." for method, reason in skipped.items()]
    if any(normalises_features(head.head) for head in heads.values()):
        notes.append(
            "A cosine head's logits do not depend on the length of its weight, but its curvature does: it falls with "
            "the square. All heads are analysed at the length that they normalise to, which changes no prediction. The "
            "Hessian of a cosine head has a residual part beside the Gauss-Newton matrix, which can be negative where "
            "the loss is far from a minimum; the Gauss-Newton trace is never negative."
        )
    if powers := [f"{method} ({head.tukey:g})" for method, head in heads.items() if head.tukey != 1]:
        notes.append(f"These heads read features raised to a power, so of another size: {', '.join(powers)}.")
    return notes


def _tables(heads: Mapping[str, HeadCurvature]) -> list[Table]:
    """Return the numbers on the subset, and the exact traces of the training set."""
    groups = [group for group in next(iter(heads.values())).blocks if group != ALL]
    subset: list[list[str | float | None]] = []
    training: list[list[str | float | None]] = []
    for method, head in heads.items():
        whole = head.blocks[ALL]
        numbers = [head.loss, head.weight_norm, whole.top_eigenvalue, whole.trace, whole.trace_stderr]
        subset.append([method, *numbers, whole.gauss_newton, *_percentages(head.gauss_newton, groups)])
        whole_set = [(traces or {}).get(ALL) for traces in (head.training_traces, head.training_gauss_newton)]
        training.append([method, *whole_set, *_percentages(head.training_gauss_newton, groups)])
    traced = ["Gauss-Newton trace", *(f"of it {group}" for group in groups)]
    header = ["classifier", "mean loss", "norm of the weight", "top eigenvalue", "trace", "its standard error", *traced]
    return [
        Table(header, subset, "The class-balanced rows; the standard error is that of their choice."),
        Table(["classifier", "trace", *traced], training, "All training rows, each class as often as it is there."),
    ]


def _percentages(traces: Mapping[str, float] | None, groups: Sequence[str]) -> list[str | None]:
    found = shares(traces)
    return [f"{100 * found[group]:.1f} %" if group in found else None for group in groups]
