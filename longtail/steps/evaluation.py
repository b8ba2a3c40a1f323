"""Step 7: all classifiers side by side on the whole test set, by how many training images a class has."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from longtail.artifacts import new_artifact, sha256_json, write_json
from longtail.config import EvaluationConfig, to_dict
from longtail.errors import InputError
from longtail.evaluation import (
    Evaluation,
    comparison_rows,
    comparison_table,
    confusion_figure,
    evaluate,
    groups_figure,
    per_class_figure,
    tail_figure,
    tail_rows,
)
from longtail.features import Features, features_to_test
from longtail.features.extraction import Floats
from longtail.networks import ImageClassifier, load_retrained
from longtail.pages import Details, Plot, Section, Table, html_report
from longtail.steps.execution import Context

SCHEMA = "longtail.results"
SCHEMA_VERSION = 1
PREDICTIONS = "predictions.safetensors"
"""File with int32 tensors `labels` (N,) and `predictions/<method>` (N,) of the test set."""
ROWS = 4096
"""Test rows that are classified at once."""


def run(config: EvaluationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return the metrics; the `results` artifact (JSON and a table) and the page are written."""
    features = Features.open(context.inputs["features"])
    evaluations: dict[str, Evaluation] = {}
    tensors = {"labels": np.array(features.labels("test"), dtype=np.int32)}
    for path, classifier, manifest in load_retrained(context.inputs["classifiers"], features.digest):
        predictions = _predictions(classifier, features_to_test(path, manifest, features), path)
        tensors[f"predictions/{manifest['method']}"] = predictions.astype(np.int32)
        evaluations[manifest["method"]] = evaluate(
            predictions,
            features.labels("test"),
            features.train_counts,
            many_above=config.many_above,
            few_below=config.few_below,
        )
    table = comparison_table(evaluations)
    fields = {
        "class_names": list(features.class_names),
        "train_counts": features.train_counts.tolist(),
        "many_above": config.many_above,
        "few_below": config.few_below,
        "dataset_digest": features.dataset_digest,
        "test_digest": _test_digest(features),
    }
    with new_artifact(context.outputs["results"], SCHEMA, SCHEMA_VERSION, fields) as folder:
        write_json(folder / "evaluations.json", {name: value.to_dict() for name, value in evaluations.items()})
        (folder / "table.txt").write_text(table + "\n", encoding="utf-8")
        save_file(tensors, folder / PREDICTIONS)
    metrics = {
        f"test/{name}_{group}": float(value)
        for name, evaluation in evaluations.items()
        for group in ("top1", "many", "medium", "few")
        if (value := getattr(evaluation, group)) is not None
    }
    context.run.log_metrics(metrics)
    context.run.log_text(table, "table.txt")
    page = _page(config, features, evaluations, context)
    context.outputs["report"].write_text(page, encoding="utf-8")
    context.run.log_text(page, "report.html")
    return {"metrics": metrics}


def _test_digest(features: Features) -> str:
    """Return the SHA-256 that two runs share if they are tested on the same images or rows, in the same order."""
    ids = np.load(features.path / "test" / "ids.npy", mmap_mode="r", allow_pickle=False)
    digest = hashlib.sha256(sha256_json([features.dataset_digest, features.class_names]).encode())
    for values in (ids, features.labels("test")):
        digest.update(np.ascontiguousarray(values, dtype="<i8").data)
    return digest.hexdigest()


@torch.no_grad()
def _predictions(classifier: ImageClassifier, features: Floats, path: Path) -> NDArray[np.int64]:
    """Return (N,) predicted classes; a part at a time, as all logits of millions of rows would not fit."""
    found = [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(features), ROWS):
        logits = classifier.classify(torch.from_numpy(np.array(features[start : start + ROWS])))
        if bool(logits.isnan().any()):
            raise InputError(f"{path} gives NaN on test rows: its training diverged; lower its learning rate")
        found.append(logits.argmax(dim=1))
    return torch.cat(found).numpy()


def _page(config: EvaluationConfig, features: Features, evaluations: dict[str, Evaluation], context: Context) -> str:
    last = list(evaluations)[-1]
    figures = {
        "groups": (groups_figure(evaluations), "Accuracy by class group of each classifier"),
        "per_class": (
            per_class_figure(evaluations, features.train_counts, features.class_names),
            "Accuracy of each class, sorted by training images, and the gain over the first classifier",
        ),
        "tail_confusion": (
            tail_figure(evaluations, features.train_counts, features.class_names),
            f"What the smallest classes are taken for, by {next(iter(evaluations))} and by {last}",
        ),
        f"confusion_{last}": (
            confusion_figure(evaluations[last], features.class_names, features.train_counts),
            f"Confusion matrix of {last}",
        ),
    }
    for name, (figure, _) in figures.items():
        context.run.log_figure(figure, f"{name}.png")
    header, *rows = comparison_rows(evaluations)
    tail_header, *tail = tail_rows(evaluations, features.train_counts, features.class_names)
    plots = [Plot(figure, alt, alt) for figure, alt in figures.values()]
    return html_report(
        "Evaluation on the test set",
        [
            Section("Classifiers side by side", [Table(header, rows), plots[0]]),
            Section("By class", plots[1:2]),
            Section("Confusion", [*plots[2:], Table(tail_header, tail)]),
            Section("Settings", [Details("evaluation", to_dict(config))]),
        ],
    )
