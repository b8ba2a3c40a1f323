import dataclasses
import importlib
from pathlib import Path

import pytest

from longtail.config import PipelineConfig
from longtail.steps.registry import STEPS

FOLDER = Path(importlib.import_module("longtail.steps").__file__).parent


def test_the_steps_are_the_modules_that_run():
    beside = {"__init__", "events", "execution", "registry"}
    assert set(STEPS) == {path.stem for path in FOLDER.glob("*.py")} - beside


@pytest.mark.parametrize("name", STEPS)
def test_a_step_takes_the_settings_it_names(name):
    annotations = importlib.import_module(f"longtail.steps.{name}").run.__annotations__
    assert annotations["config"] is STEPS[name].config


def test_every_group_of_settings_belongs_to_one_step():
    groups = {entry.name: entry.type for entry in dataclasses.fields(PipelineConfig) if entry.name != "seed"}
    assert groups == {step.group: step.config for step in STEPS.values()}
    assert len(groups) == len(STEPS)


def test_a_step_reads_what_steps_before_it_wrote():
    written = set()
    for step in STEPS.values():
        # The one list: an output of each retraining method.
        assert {"classifier" if name == "classifiers" else name for name in step.inputs} <= written
        assert not written & set(step.outputs)
        written |= set(step.outputs)


def test_only_retraining_runs_once_for_each_method():
    assert [name for name, step in STEPS.items() if step.per_method] == ["classifier_retraining"]


def test_numbers_in_the_docstrings_follow_the_order():
    numbers = [importlib.import_module(f"longtail.steps.{name}").__doc__.split()[1].strip(":,") for name in STEPS]
    assert numbers == [str(number) for number in range(1, len(STEPS) + 1)]
