import yaml

from longtail.settings import resolve
from pipelines.compiled import built, compiled, specification
from pipelines.longtail_pipeline import longtail_pipeline
from pipelines.policy_file import Installation
from pipelines.report import without_report


def test_it_is_the_last_step_and_never_cached():
    tasks = specification(resolve("digits"), "")[0]["root"]["dag"]["tasks"]
    assert tasks["run-report"]["cachingOptions"] == {}
    assert "run-report" not in {name for task in tasks.values() for name in task.get("dependentTasks", [])}
    assert tasks["run-report"]["dependentTasks"].count("head-curvature") == 1


def test_without_it_the_page_is_that_of_the_evaluation():
    with without_report():
        root = compiled(built(longtail_pipeline, Installation()))[0]["root"]
    assert "run-report" not in root["dag"]["tasks"]
    selected = yaml.safe_dump(root["dag"]["outputs"]["artifacts"]["report"])
    assert "producerSubtask: evaluation" in selected and "outputArtifactKey: report" in selected
    assert "run-report" in specification(resolve("digits"), "")[0]["root"]["dag"]["tasks"]
