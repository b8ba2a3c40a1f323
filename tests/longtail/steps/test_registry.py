import dataclasses
import importlib
from pathlib import Path

import pytest

from longtail.config import PipelineConfig
from longtail.steps.registry import CLOSING_STEPS, EVERY_STEP, FEATURE_STEPS, STEPS, SWEEP_STEPS

FOLDER = Path(importlib.import_module("longtail.steps").__file__).parent


def test_the_steps_are_the_modules_that_run():
    beside = {"__init__", "champion_weights", "checkpoints", "events", "execution", "provenance"}
    beside |= {"registry", "rescoring"}
    assert set(EVERY_STEP) == {path.stem for path in FOLDER.glob("*.py")} - beside


@pytest.mark.parametrize("name", EVERY_STEP)
def test_a_step_takes_the_settings_it_names(name):
    annotations = importlib.import_module(f"longtail.steps.{name}").run.__annotations__
    assert annotations["config"] is EVERY_STEP[name].config


def test_every_group_of_settings_belongs_to_one_step_but_that_of_curvature():
    fields = {entry.name: entry.type for entry in dataclasses.fields(PipelineConfig)}
    # How far data may drift is asked before a run, not in one.
    groups = {name: kind for name, kind in fields.items() if name not in ("seed", "start", "drift")}
    steps = STEPS | FEATURE_STEPS | {"promotion": CLOSING_STEPS["promotion"]}
    assert groups == {step.group: step.config for step in steps.values()}
    assert len(groups) == len(steps) - 1
    assert [name for name, step in steps.items() if step.group == "hessian"] == ["hessian_analysis", "head_curvature"]


FROM_FEATURES = FEATURE_STEPS | {
    name: STEPS[name] for name in ("calibrated_sampling", "classifier_retraining", "evaluation", "head_curvature")
}


@pytest.mark.parametrize(
    ("steps", "missing"), [(STEPS, set()), (FROM_FEATURES, {"dataset"})], ids=["images", "features"]
)
def test_a_step_reads_what_steps_before_it_wrote(steps, missing):
    written = set()
    for step in steps.values():
        assert set(step.optional) <= set(step.inputs)
        needed = set(step.inputs) - (missing & set(step.optional))
        # The one list: an output of each retraining method.
        assert {"classifier" if name == "classifiers" else name for name in needed} <= written
        assert not written & set(step.outputs)
        written |= set(step.outputs)


def test_a_sweeps_step_is_none_of_the_pipelines_and_has_no_settings_in_a_preset():
    assert not set(SWEEP_STEPS) & set(STEPS)
    groups = {entry.name for entry in dataclasses.fields(PipelineConfig)}
    assert not groups & {step.group for step in SWEEP_STEPS.values()}


def test_only_retraining_runs_once_for_each_method():
    assert [name for name, step in STEPS.items() if step.per_method] == ["classifier_retraining"]


@pytest.mark.parametrize("steps", [STEPS, FEATURE_STEPS], ids=["images", "features"])
def test_numbers_in_the_docstrings_follow_the_order(steps):
    numbers = [importlib.import_module(f"longtail.steps.{name}").__doc__.split()[1].strip(":,") for name in steps]
    assert numbers == [str(number) for number in range(1, len(steps) + 1)]
