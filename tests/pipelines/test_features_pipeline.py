import ast
import dataclasses
from pathlib import Path

import pytest

from longtail.config import PipelineConfig
from longtail.settings import resolve
from longtail.steps.registry import FEATURE_STEPS
from pipelines import features_pipeline
from pipelines.compiled import UNUSED, arguments, specification, used_settings

SOURCE = Path(features_pipeline.__file__)


@pytest.fixture(scope="module")
def spec():
    return specification(resolve("", features="table.parquet"), "0" * 64)[0]


def test_it_has_a_name_of_its_own(spec):
    assert spec["pipelineInfo"]["name"] == "longtail-features"


def test_its_parameters_are_the_settings_that_it_reads(spec):
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    groups = {field.name for field in dataclasses.fields(PipelineConfig)} - {"start", "promotion", *UNUSED["features"]}
    assert set(parameters) == groups | {"methods", "data_digest"}
    assert parameters["table"]["defaultValue"]["path"] == "table.parquet"
    assert parameters["data_digest"]["defaultValue"] == "0" * 64


def test_every_setting_is_read_by_one_start_at_least():
    names = {field.name for field in dataclasses.fields(PipelineConfig)}
    assert set(UNUSED["images"]) | set(UNUSED["features"]) <= names
    assert set(UNUSED["images"]) & set(UNUSED["features"]) == {"drift"}  # which is asked before a run
    for start, preset in (("images", "digits"), ("features", "features")):
        config = resolve(preset)
        assert set(used_settings(config)) == names - set(UNUSED[start])
        assert used_settings(config)["start"] == start
        assert "start" not in arguments(config, "")


def test_it_is_the_method_in_order(spec):
    needs = {name: set(task.get("dependentTasks", [])) for name, task in spec["root"]["dag"]["tasks"].items()}
    assert needs == {
        "feature-import": set(),
        "head-training": {"feature-import"},
        "calibrated-sampling": {"feature-import", "head-training"},
        "for-loop-1": {"feature-import", "head-training", "calibrated-sampling"},
        "evaluation": {"feature-import", "for-loop-1"},
        "head-curvature": {"feature-import", "for-loop-1", "evaluation"},
        "run-report": {"feature-import", "calibrated-sampling", "evaluation", "head-curvature"},
    }


def test_retraining_gets_no_images(spec):
    (loop,) = (
        part for part in spec["components"].values() if "classifier-retraining" in part.get("dag", {}).get("tasks", {})
    )
    given = loop["dag"]["tasks"]["classifier-retraining"]["inputs"]["artifacts"]
    assert set(given) == {"backbone", "features", "samples"}
    assert spec["components"]["comp-classifier-retraining"]["inputDefinitions"]["artifacts"]["dataset"]["isOptional"]


def test_the_tail_is_that_of_the_other_pipeline(spec):
    other = specification(resolve("digits"), "")[0]
    for name in ("calibrated-sampling", "classifier-retraining", "evaluation", "head-curvature", "run-report"):
        assert spec["components"][f"comp-{name}"] == other["components"][f"comp-{name}"]
        assert (
            spec["deploymentSpec"]["executors"][f"exec-{name}"] == other["deploymentSpec"]["executors"][f"exec-{name}"]
        )


def test_what_a_run_leaves(spec):
    outputs = spec["root"]["outputDefinitions"]["artifacts"]
    assert set(outputs) == set(features_pipeline.Outputs._fields)
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"


def test_no_logic_and_no_images_in_the_file():
    tree = ast.parse(SOURCE.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.For, ast.Try, ast.Lambda))]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [calls.count(step) for step in (*FEATURE_STEPS, "from_features")] == [1, 1, 1]
