import ast
import dataclasses
from pathlib import Path

import pytest

from longtail.config import PipelineConfig
from longtail.settings import resolve
from longtail.steps import STEPS
from longtail.steps.registry import CLOSING_STEPS, SHARD_STEPS
from pipelines import longtail_pipeline
from pipelines.compiled import UNUSED, specification

SOURCE = Path(longtail_pipeline.__file__)
TAIL = SOURCE.with_name("tail.py")
FEATURES = SOURCE.with_name("shards.py")
REPORT = SOURCE.with_name("report.py")
FILES = (SOURCE, TAIL, FEATURES, REPORT, SOURCE.with_name("promotion.py"))


@pytest.fixture(scope="module")
def root():
    return specification(resolve("digits"), "")[0]["root"]


def test_at_most_ten_parameters_one_for_each_group_of_settings(root):
    parameters = root["inputDefinitions"]["parameters"]
    assert len(parameters) <= 10
    groups = {field.name for field in dataclasses.fields(PipelineConfig)} - {"start", "promotion", *UNUSED["images"]}
    assert set(parameters) == groups | {"methods", "data_digest"}


def test_it_is_the_method_in_order(root):
    needs = {name: set(task.get("dependentTasks", [])) for name, task in root["dag"]["tasks"].items()}
    assert needs == {
        "data-imbalancing": set(),
        "backbone-training": {"data-imbalancing"},
        "hessian-analysis": {"data-imbalancing", "backbone-training"},
        "feature-extraction": {"data-imbalancing", "backbone-training"},
        "calibrated-sampling": {"backbone-training", "feature-extraction"},
        "for-loop-1": {"data-imbalancing", "backbone-training", "feature-extraction", "calibrated-sampling"},
        "evaluation": {"feature-extraction", "for-loop-1"},
        "head-curvature": {"feature-extraction", "for-loop-1", "evaluation"},
        "run-report": {
            *("data-imbalancing", "backbone-training", "hessian-analysis"),
            *("calibrated-sampling", "evaluation", "head-curvature"),
        },
    }


def test_what_a_run_leaves(root):
    outputs = root["outputDefinitions"]["artifacts"]
    assert set(outputs) == set(longtail_pipeline.Outputs._fields)
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"


def test_nothing_that_changes_with_every_run_is_a_parameter(root):
    assert not [name for name in root["inputDefinitions"]["parameters"] if "run" in name or "time" in name]


def test_no_logic_and_no_images_in_the_file():
    tree = ast.parse(SOURCE.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.For, ast.Try, ast.Lambda))]
    assert "image" not in {keyword.arg for node in ast.walk(tree) for keyword in getattr(node, "keywords", [])}
    assert len(SOURCE.read_text().splitlines()) <= 150


def test_every_step_is_in_it_once():
    nodes = [node for path in FILES for node in ast.walk(ast.parse(path.read_text()))]
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    steps = STEPS | SHARD_STEPS | CLOSING_STEPS
    for step in steps:
        assert calls.count("comparison" if step == "evaluation" else step) == 1
    assert calls.count("apply") == len(steps)


def test_every_module_of_the_folder_is_small():
    for path in SOURCE.parent.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 300
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name != "longtail_pipeline":
                body = node.body[1:] if ast.get_docstring(node) else node.body
                assert not body or body[-1].end_lineno - body[0].lineno < 40, f"{path.name}: {node.name}"
