"""The last step: one page of the whole run, which the pipeline's run in MLflow shows too, with a description."""

import os
from typing import Any

from longtail.evaluation import comparison_table
from longtail.run_report.description import description
from longtail.run_report.facts import Facts, read_facts
from longtail.run_report.page import SECTIONS, run_page
from longtail.steps.execution import Context
from longtail.steps.provenance import log_data
from longtail.steps.registry import NoSettings
from longtail.tracking.lineage import figures, file_page, logged_models, parent_id, record_cached_steps
from longtail.tracking.run import Run, attached_run


def run(config: NoSettings, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `report` page that it writes: the run's sentences and the model of each method."""
    before = context.provenance
    facts = read_facts(
        context.inputs["results"],
        data=before.data,
        lineage=before.lineage,
        pipeline_run=os.environ.get("KFP_RUN_ID", ""),
    )
    given = {name: path for name in SECTIONS if (path := context.inputs.get(f"{name}_page"))}
    page = run_page(facts, {name: path.read_text(encoding="utf-8") for name, path in given.items()})
    context.outputs["report"].write_text(page, encoding="utf-8")
    parent = attached_run(parent_id(context.run))
    _tell(parent, facts, page, context)
    return {
        "report": {
            "sentence": " ".join(said for step in ("head_curvature", "promotion") if (said := facts.sentence(step))),
            "curvature": facts.sentence("head_curvature"),
            "promotion": facts.sentence("promotion"),
            "cached": list(facts.cached),
            "models": _models(parent, facts),
        }
    }


def _tell(parent: Run, facts: Facts, page: str, context: Context) -> None:
    """Complete the pipeline's run: cached steps, what was read, scores, the page and the description."""
    sources = {label: made["run_id"] for label, made in facts.steps.items()}
    record_cached_steps(parent, {label: sources[label] for label in facts.cached})
    log_data(parent, context.provenance.data, ("train", "validation", "test"))
    parent.log_metrics({
        f"test/{name}_{group}": value
        for name, scores in facts.evaluations.items()
        for group in ("top1", "many", "medium", "few")
        if (value := getattr(scores, group)) is not None
    })
    parent.log_text(comparison_table(facts.evaluations), "table.txt")
    parent.log_text(page, "report.html")
    address = file_page(parent.experiment_id, parent.run_id, "report.html")
    parent.set_tags({"mlflow.note.content": description(facts, address, figures(parent, sources))})


def _models(parent: Run, facts: Facts) -> dict[str, str]:
    """Return the URI of the MLflow model of each method."""
    label = "classifier_retraining/{}"
    runs = {name: facts.lineage.get(label.format(name), {}).get("run_id", "") for name in facts.evaluations}
    return {name: uri for name, run_id in runs.items() for uri in logged_models(parent, run_id)}
