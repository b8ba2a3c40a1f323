import numpy as np
import pytest
from safetensors.numpy import save_file

from longtail.artifacts import new_artifact, write_json
from longtail.evaluation import evaluate
from longtail.pages import Section, Text, html_report
from longtail.steps import run_report
from longtail.steps.execution import Context
from longtail.steps.provenance import Provenance
from longtail.steps.registry import NoSettings
from longtail.tracking.recording import Run


@pytest.fixture
def context(tmp_path):
    """A run that is not tracked, of one classifier that is right in half of the cases."""
    labels, counts = np.repeat([0, 1], 10).astype(np.int32), [200, 4]
    predictions = np.zeros(20, dtype=np.int32)
    fields = {"train_counts": counts, "many_above": 100, "few_below": 20}
    with new_artifact(tmp_path / "results", "longtail.results", 1, fields) as folder:
        write_json(folder / "evaluations.json", {"baseline": evaluate(predictions, labels, counts).to_dict()})
        save_file({"labels": labels, "predictions/baseline": predictions}, folder / "predictions.safetensors")
    (tmp_path / "data.html").write_text(html_report("t", [Section("Images", [Text("204 of them")])]))
    record = {"run_id": "", "git_commit": "", "image": "", "seed": 1, "seconds": 2.0, "sha256": {}}
    lineage = {
        "data_imbalancing": {**record, "pipeline_run": "before", "started": 1.0, "sentence": ""},
        "head_curvature": {**record, "pipeline_run": "now", "started": 2.0, "sentence": "It is flat."},
    }
    return Context(
        inputs={"results": tmp_path / "results", "data_page": tmp_path / "data.html"},
        outputs={"report": tmp_path / "report.html"},
        seed=1,
        pipeline_seed=1,
        method="",
        run=Run.silent(),
        provenance=Provenance(lineage, {"name": "toys", "digest": "d", "splits": {}}),
    )


def test_the_page_is_there_and_says_what_came_from_the_cache(context, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "now")
    described = run_report.run(NoSettings(), context)
    text = context.outputs["report"].read_text(encoding="utf-8")
    assert "Longtail run on toys: 1 classifier compared" in text
    assert "204 of them" in text and "It is flat." in text
    assert described == {
        "report": {
            "sentence": "It is flat.",
            "curvature": "It is flat.",
            "promotion": "",
            "cached": ["data_imbalancing"],
            "models": {},
        }
    }


def test_the_same_run_gives_the_same_page(context):
    run_report.run(NoSettings(), context)
    before = context.outputs["report"].read_bytes()
    run_report.run(NoSettings(), context)
    assert context.outputs["report"].read_bytes() == before
