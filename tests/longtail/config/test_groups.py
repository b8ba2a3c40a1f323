"""What holds for every setting, whatever it is."""

import ast
import dataclasses
import inspect
import typing

import pytest

from longtail import config
from longtail.config import groups, parse
from longtail.errors import InputError

CLASSES = [cls for cls in vars(config).values() if dataclasses.is_dataclass(cls)]
SETTINGS = [(cls, entry) for cls in CLASSES for entry in dataclasses.fields(cls)]


@pytest.mark.parametrize(("cls", "entry"), SETTINGS)
def test_default_has_its_declared_type_and_range(cls, entry):
    value = getattr(cls(), entry.name)
    hint = typing.get_type_hints(cls)[entry.name]
    assert isinstance(value, typing.get_origin(hint) or hint)
    if not dataclasses.is_dataclass(value):
        assert parse(cls, {entry.name: value}) == cls()


@pytest.mark.parametrize(("cls", "entry"), SETTINGS)
def test_no_number_goes_below_its_minimum(cls, entry):
    minimum = entry.metadata.get("minimum")
    if minimum is None:
        return
    with pytest.raises(InputError, match=rf"^{entry.name} is .*: it must be at least {minimum:g}$"):
        parse(cls, {entry.name: minimum - 1})


def test_every_number_has_a_minimum_and_every_choice_its_default():
    for cls, entry in SETTINGS:
        if typing.get_type_hints(cls)[entry.name] in (int, float):
            assert "minimum" in entry.metadata, entry.name
        choices = entry.metadata.get("choices")
        assert choices is None or getattr(cls(), entry.name) == choices[0]


def test_every_setting_is_described():
    for node in ast.parse(inspect.getsource(groups)).body:
        if isinstance(node, ast.ClassDef) and node.name != "PipelineConfig":
            settings = [entry.target.id for entry in node.body if isinstance(entry, ast.AnnAssign)]
            texts = [entry for entry in node.body if isinstance(entry, ast.Expr)]
            assert len(texts) == len(settings) + 1, node.name  # the class has one too
