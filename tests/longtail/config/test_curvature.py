import ast
import inspect

import pytest

from longtail.config import BackboneConfig, CurvatureConfig, TracePenaltyConfig, curvature, parse
from longtail.errors import InputError


def test_both_are_off_by_default():
    config = BackboneConfig()
    assert (config.trace_penalty.weight, config.curvature.every) == (0, 0)


@pytest.mark.parametrize(
    ("value", "layers"),
    [("middle", ("middle",)), (["backbone.*", "head.*"], ("backbone.*", "head.*")), ("a, b.*", ("a", "b.*"))],
)
def test_layers_are_one_word_or_patterns(value, layers):
    assert parse(TracePenaltyConfig, {"layers": value}).layers == layers


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (TracePenaltyConfig, {"weight": -1}, "^trace_penalty.weight is -1.0: it must be at least 0$"),
        (TracePenaltyConfig, {"form": "exact"}, "^trace_penalty.form is 'exact': choose from auto, first_order, hutch"),
        (TracePenaltyConfig, {"law": "normal"}, "^trace_penalty.law is 'normal': choose from rademacher, gaussian$"),
        (TracePenaltyConfig, {"every": 0}, "^trace_penalty.every is 0: it must be at least 1$"),
        (TracePenaltyConfig, {"share": 0}, r"^trace_penalty.share is 0.0: it must be at least 0.01$"),
        (TracePenaltyConfig, {"start": 1.5}, "^trace_penalty.start is 1.5: it must be at most 1$"),
        (CurvatureConfig, {"probes": 1}, "^trace_penalty.probes is 1: it must be at least 2$"),
    ],
)
def test_wrong_values_are_named(cls, values, message):
    with pytest.raises(InputError, match=message):
        parse(cls, values, "trace_penalty")


def test_every_setting_is_described():
    for node in ast.parse(inspect.getsource(curvature)).body:
        if isinstance(node, ast.ClassDef):
            settings = [entry for entry in node.body if isinstance(entry, ast.AnnAssign)]
            assert sum(isinstance(entry, ast.Expr) for entry in node.body) == len(settings) + 1
