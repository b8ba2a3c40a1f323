"""After all other steps: register a method's model, and bring it into use if it passes the gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from longtail.artifacts import new_artifact, open_artifact, read_json, sha256_json, write_json
from longtail.config import PromotionConfig, to_dict
from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.evaluation import GROUPS, Evaluation, class_groups
from longtail.features import Features
from longtail.gate import Scores
from longtail.gate.page import gate_page
from longtail.hessian.report import Report
from longtail.pages import Section, Text, html_report
from longtail.steps.execution import Context
from longtail.steps.rescoring import predict_test
from longtail.tracking.attempts import persistently
from longtail.tracking.identity import find_run_id
from longtail.tracking.loading import download
from longtail.tracking.promotion import Outcome, promote_version
from longtail.tracking.recording import TrackingError
from longtail.tracking.redaction import redact
from longtail.tracking.registry import Version, check_name, keep_scores, logged_model, register, registry
from longtail.tracking.server import tracking_mode

SCHEMA = "longtail.gate"
SCHEMA_VERSION = 1
_RESULTS = ("longtail.results", 1)
_PREDICTIONS = "predictions.safetensors"
_NO_SETTINGS_OF_THE_MODEL = ("hessian_analysis", "evaluation", "head_curvature", "promotion")


@dataclass(frozen=True, eq=False)
class _Challenger:
    """What is registered.

    Attributes:
        method: Its retraining method.
        scores: Its predictions on the run's test split.
        tags: Of its version.
        description: It in words.
        run_id: Run that logged its model.
    """

    method: str
    scores: Scores
    tags: dict[str, str]
    description: str
    run_id: str


def run(config: PromotionConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `gate` artifact that it writes, with its page.

    A registry that cannot be reached is no error unless LONGTAIL_TRACKING=strict: then nothing is registered, and the
    sentence says so.
    """
    check_name(config.model)
    challenger = _challenger(config, context)
    try:
        outcome = persistently(lambda: _promoted(registry(), config, challenger, context))
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(redact(f"{type(error).__name__}: {error}")).split())[:300]
        if tracking_mode() == "strict":
            raise TrackingError(f"tracking could not register a model ({reason})") from None
        outcome = Outcome(f"Nothing was registered as {config.model}: the registry failed ({reason}).", False, None)
    decision = outcome.decision
    content = {
        "model": config.model,
        "promoted": outcome.promoted,
        "sentence": outcome.sentence,
        "settings": to_dict(config),
        "decision": None if decision is None else decision.to_dict(),
    }
    with new_artifact(context.outputs["gate"], SCHEMA, SCHEMA_VERSION, {}) as folder:
        write_json(folder / "gate.json", content)
    if decision is None:
        page = html_report("Promotion", [Section("Decision", [Text(outcome.sentence)])])
    else:
        page = gate_page(decision)
    context.outputs["report"].write_text(page, encoding="utf-8")
    return {"gate": {"sentence": outcome.sentence, "promoted": outcome.promoted}}


def _promoted(client: Any, config: PromotionConfig, challenger: _Challenger, context: Context) -> Outcome:
    """Return what became of the challenger, registered with its predictions; done again, it leaves what once does."""
    if not context.run.run_id:
        raise LookupError("this step is not tracked")
    own, uri = find_run_id(client, context.run.run_id), logged_model(client, challenger.run_id)
    version = register(client, config.model, uri, challenger.tags, challenger.description)
    keep_scores(client, version, challenger.scores, own)
    return promote_version(client, version, challenger.scores, config, own, _scorer(challenger, context))


def _scorer(challenger: _Challenger, context: Context) -> Callable[[Version], Scores]:
    """Return a function that gives another version's scores on this run's test split."""

    def score(version: Version) -> Scores:
        dataset = Dataset.open(context.inputs["dataset"]) if "dataset" in context.inputs else None
        features = Features.open(context.inputs["features"])
        return replace(challenger.scores, predictions=predict_test(download(version.uri), features, dataset))

    return score


def _challenger(config: PromotionConfig, context: Context) -> _Challenger:
    path = context.inputs["results"]
    manifest, kept = open_artifact(path, *_RESULTS), path / _PREDICTIONS
    if "test_digest" not in manifest or not kept.is_file():
        raise InputError(f"{path} has no predictions: evaluate again with this release")
    evaluations = {name: Evaluation.from_dict(value) for name, value in read_json(path / "evaluations.json").items()}
    method = config.method or list(evaluations)[-1]
    if method not in evaluations:
        raise InputError(f"promotion.method is {method!r}: this run has {', '.join(evaluations)}")
    tensors, evaluation = load_file(kept), evaluations[method]
    groups = class_groups(
        np.array(manifest["train_counts"]), many_above=manifest["many_above"], few_below=manifest["few_below"]
    )
    scores = Scores(
        tensors["labels"].astype(np.int64),
        tensors[f"predictions/{method}"].astype(np.int64),
        tuple(manifest["class_names"]),
        groups,
        manifest["test_digest"],
    )
    label = f"classifier_retraining/{method}"
    made = context.provenance.lineage.get(label, {})
    accuracies = {group: value for group in ("top1", *GROUPS) if (value := getattr(evaluation, group)) is not None}
    curvature = _curvature(method, context)
    tags = {
        "dataset_digest": manifest["dataset_digest"],
        "source_digest": str(context.provenance.data.get("digest", "")),
        "config_digest": _config_digest(label, context),
        "git_commit": str(made.get("git_commit", "")),
        "method": method,
        "seed": str(context.pipeline_seed),
        "test_digest": scores.test_digest,
        **{group: f"{value:.2f}" for group, value in accuracies.items()},
        **{name: f"{value:.6g}" for name, value in curvature.items()},
    }
    description = _description(method, accuracies, curvature, manifest, context)
    return _Challenger(method, scores, tags, description, str(made.get("run_id", "")))


def _config_digest(label: str, context: Context) -> str:
    """Return the SHA-256 of the settings of all steps that a model descends from."""
    settings = {
        step: made.get("settings", "")
        for step, made in context.provenance.lineage.items()
        if step == label or step.partition("/")[0] not in ("classifier_retraining", *_NO_SETTINGS_OF_THE_MODEL)
    }
    return sha256_json(settings)


def _curvature(method: str, context: Context) -> dict[str, float]:
    """Return the curvature of the trained network, if it was analysed, and of the method's last layer."""
    found: dict[str, float] = {}
    if "curvature" in context.inputs:
        whole = Report.load(context.inputs["curvature"]).full
        found |= {"trace": whole.trace, "top_eigenvalue": whole.top_eigenvalue}
    heads = read_json(Path(context.inputs["head_curvature"]) / "head_curvature.json")["methods"]
    if method in heads:
        block = heads[method]["blocks"]["all"]
        found |= {"head_trace": block["trace"], "head_top_eigenvalue": block["top_eigenvalue"]}
    return found


def _description(
    method: str, accuracies: dict[str, float], curvature: dict[str, float], manifest: dict[str, Any], context: Context
) -> str:
    name = context.provenance.data.get("name") or "a data set"
    counts, classes = manifest["train_counts"], len(manifest["class_names"])
    groups = ", ".join(f"{'all' if group == 'top1' else group} {value:.2f} %" for group, value in accuracies.items())
    curved = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in curvature.items())
    return (
        f"A classifier by `{method}` for {classes:,} classes, from {sum(counts):,} training examples of {name} "
        f"({max(counts):,} of the largest class, {min(counts):,} of the smallest; digest "
        f"{manifest['dataset_digest'][:12]}). Test accuracy: {groups}. Curvature: {curved or 'not measured'}."
    )
