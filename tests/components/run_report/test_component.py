"""The report of a run, called as Kubeflow's executor calls it, on the artifacts of a real one."""

import subprocess
import sys
from pathlib import Path

import pytest
from kfp import dsl

from components.run_report.component import run_report
from longtail.tracking.identity import PARENT_TAG, PIPELINE_TAG

PAGES = {
    "data_page": "data_imbalancing",
    "training_page": "backbone_training",
    "sampling_page": "calibrated_sampling",
    "curvature_page": "hessian_analysis",
    "evaluation_page": "evaluation",
    "head_curvature_page": "head_curvature",
}


@pytest.fixture
def report(chain, tmp_path):
    """Return a function that makes the report of the chain and returns it."""

    def make(**changes):
        page = dsl.HTML(name="report", uri=str(tmp_path / "report.html"), metadata={})
        given = {name: chain[step]["report"] for name, step in PAGES.items()}
        run_report.python_func(results=chain["evaluation"]["results"], report=page, **(given | changes))
        return page

    return make


@pytest.fixture
def client(chain, monkeypatch):
    """The database that the chain was tracked to, to which this process tracks too."""
    from mlflow import MlflowClient

    folder = Path(chain["evaluation"]["results"].path).parents[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def test_the_pipeline_s_run_gets_page_description_scores_and_cached_steps(chain, report, client, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "pipeline-2")
    page = report()
    again = report()  # a pod that is started again
    lineage = chain["head_curvature"]["head_curvature"].metadata["lineage"]
    assert set(page.metadata["cached"]) == set(again.metadata["cached"]) == {*lineage, "hessian_analysis"}
    experiment = client.get_experiment_by_name("longtail").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`{PIPELINE_TAG}` = 'pipeline-2'")
    children = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'")
    names = [child.info.run_name for child in children if child.info.run_name != "run_report"]
    assert sorted(names) == sorted(page.metadata["cached"])
    scores = chain["evaluation"]["metrics"].metadata
    assert parent.data.metrics == {name: scores[name] for name in scores if name.startswith("test/")}
    assert {"report.html", "table.txt"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert parent.info.status == "FINISHED"
    assert {entry.dataset.name for entry in parent.inputs.dataset_inputs} == {"digits-train", "digits-test"}
    note = parent.data.tags["mlflow.note.content"]
    assert page.metadata["curvature"] in note and f"runs/{parent.info.run_id}/artifacts/report.html" in note
    assert set(page.metadata["models"]) == {"baseline", "tailcalib"}


def test_beside_kubeflow_s_own_plugin_nothing_is_recorded_twice(report, client, monkeypatch):
    experiment = client.create_experiment("plugin")
    parent = client.create_run(experiment).info.run_id
    own = client.create_run(experiment, tags={PARENT_TAG: parent}, run_name="run-report").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    report()
    assert [run.info.run_id for run in client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent}'")] == [own]
    assert client.get_run(parent).data.tags["mlflow.note.content"]
    assert "report.html" in [file.path for file in client.list_artifacts(parent)]


def test_without_a_server_and_without_images_there_is_a_page(chain, report, monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "off")
    page = report(training_page=None, curvature_page=None)
    text = Path(page.path).read_text(encoding="utf-8")
    assert "<h2>Accuracy by class</h2>" in text and "<h2>Training</h2>" not in text
    assert page.metadata["models"] == {}


def test_a_changed_page_is_refused(chain, report, tmp_path, untracked, capsys):
    page = chain["evaluation"]["report"]
    changed = tmp_path / "page.html"
    changed.write_text(Path(page.path).read_text(encoding="utf-8") + "<script></script>", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        report(evaluation_page=dsl.HTML(name="report", uri=str(changed), metadata=dict(page.metadata)))
    assert ended.value.code == 2
    assert f"{changed} does not match the digest" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_it_starts_without_the_heavy_libraries():
    code = "import sys, longtail.steps.run_report; print({'torch', 'matplotlib', 'scipy', 'mlflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
