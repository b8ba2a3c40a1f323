import dataclasses
import json

import pytest

from longtail.config import (
    BackboneConfig,
    CalibrationConfig,
    CurvatureConfig,
    DataConfig,
    DistillationConfig,
    DriftConfig,
    EvaluationConfig,
    FeaturesConfig,
    HessianConfig,
    LossConfig,
    PipelineConfig,
    PromotionConfig,
    RetrainingConfig,
    TracePenaltyConfig,
    parse,
    to_dict,
)
from longtail.errors import InputError

CONFIGS = [
    LossConfig,
    DistillationConfig,
    TracePenaltyConfig,
    CurvatureConfig,
    DataConfig,
    BackboneConfig,
    FeaturesConfig,
    CalibrationConfig,
    RetrainingConfig,
    HessianConfig,
    EvaluationConfig,
    DriftConfig,
    PromotionConfig,
    PipelineConfig,
]


def floats(value):
    """What Kubeflow makes of a dict parameter: every number a float."""
    if isinstance(value, dict):
        return {key: floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("cls", CONFIGS)
def test_defaults_survive_json_and_kubeflow(cls):
    default = cls()
    plain = to_dict(default)
    assert json.loads(json.dumps(plain)) == plain
    assert parse(cls, plain) == parse(cls, floats(plain)) == parse(cls, {}) == default


def test_whole_floats_become_integers():
    config = parse(BackboneConfig, {"epochs": 2.0, "batch_size": "64", "learning_rate": 1})
    assert (config.epochs, type(config.epochs), config.batch_size) == (2, int, 64)
    assert type(config.learning_rate) is float


@pytest.mark.parametrize("text", ["1e-3", " 0.001 "])
def test_numbers_may_come_as_text(text):
    assert parse(BackboneConfig, {"learning_rate": text}) == BackboneConfig(learning_rate=0.001)


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_truth_may_come_as_text(value):
    assert parse(BackboneConfig, {"nesterov": value}).nesterov is True


@pytest.mark.parametrize("value", [["crt", "baseline"], ("crt", "baseline"), "crt, baseline", "[crt,baseline]"])
def test_lists_may_come_as_text(value):
    assert parse(RetrainingConfig, {"methods": value}).methods == ("crt", "baseline")


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (BackboneConfig, {"epochs": 2.5}, "epochs is 2.5: give a whole number"),
        (BackboneConfig, {"epochs": "many"}, "epochs is 'many': give a number"),
        (BackboneConfig, {"epochs": None}, "epochs is None: give a number"),
        (BackboneConfig, {"epochs": True}, "epochs is True: give a number"),
        (BackboneConfig, {"epochs": 0}, "epochs is 0: it must be at least 1"),
        (BackboneConfig, {"momentum": 1.5}, "momentum is 1.5: it must be at most 1"),
        (BackboneConfig, {"scale": -1}, "scale is -1.0: it must be at least 0"),
        (BackboneConfig, {"learning_rate": float("nan")}, "learning_rate is nan: give a finite number"),
        (BackboneConfig, {"learning_rate": "-inf"}, "learning_rate is '-inf': give a finite number"),
        (BackboneConfig, {"nesterov": 1}, "nesterov is 1: give true or false"),
        (BackboneConfig, {"nesterov": "yes"}, "nesterov is 'yes': give true or false"),
        (
            BackboneConfig,
            {"network": "vgg"},
            "network is 'vgg': choose from small_cnn, lenet, resnet32, resnet32_128, resnext50, torchvision:NAME, "
            "timm:NAME",
        ),
        (
            BackboneConfig,
            {"loss": {"name": "mse"}},
            "loss.name is 'mse': choose from cross_entropy, balanced_softmax, logit_adjustment, ldam",
        ),
        (BackboneConfig, {"network": 3}, "network is 3: give text"),
        (RetrainingConfig, {"methods": 3}, "methods is 3: give a list"),
        (RetrainingConfig, {"methods": [3]}, "methods is 3: give text"),
        (BackboneConfig, {"epoch": 3}, "'epoch' is not a setting: did you mean 'epochs'?"),
        (FeaturesConfig, {"zzz": 3}, "'zzz' is not a setting: choose from batch_size, shards, views"),
        (FeaturesConfig, {1: 3}, "1 is not a setting: choose from batch_size, shards, views"),
        (PipelineConfig, {"backbon": {}}, "'backbon' is not a setting: did you mean 'backbone'?"),
        (PipelineConfig, {"backbone": {"epoch": 3}}, "'backbone.epoch' is not a setting: did you mean 'epochs'?"),
        (PipelineConfig, {"backbone": {"epochs": -1}}, "backbone.epochs is -1: it must be at least 1"),
        (PipelineConfig, {"backbone": 3}, "backbone is 3: give a group of settings, such as backbone.KEY=VALUE"),
        (PipelineConfig, {"seed": -1}, "seed is -1: it must be at least 0"),
    ],
)
def test_wrong_settings_are_named_in_one_line(cls, values, message):
    with pytest.raises(InputError) as error:
        parse(cls, values)
    assert str(error.value) == message


def test_group_name_stands_before_the_setting():
    with pytest.raises(InputError, match=r"^calibration.tukey is -1.0: "):
        parse(CalibrationConfig, {"tukey": -1}, "calibration")


@dataclasses.dataclass(frozen=True)
class Mapped:
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    inner: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


def test_mappings_of_any_keys():
    values = {"counts": {"a": 1.0}, "inner": {"b": {"c": "d"}}}
    assert parse(Mapped, values) == Mapped({"a": 1}, {"b": {"c": "d"}})
    assert to_dict(parse(Mapped, values)) == {"counts": {"a": 1}, "inner": {"b": {"c": "d"}}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"counts": [1]}, r"^counts is \[1\]: give a mapping$"),
        ({"counts": {"a": "x"}}, r"^counts.a is 'x': give a number$"),
        ({"inner": {"b": "c"}}, r"^inner.b is 'c': give a mapping$"),
    ],
)
def test_a_wrong_mapping_is_named(values, message):
    with pytest.raises(InputError, match=message):
        parse(Mapped, values)


def test_a_union_of_types_is_a_programming_error():
    @dataclasses.dataclass(frozen=True)
    class Odd:
        x: int | None = None

    with pytest.raises(TypeError, match="one type"):
        parse(Odd, {"x": 1})


def test_names_that_a_library_gives_a_meaning_pass():
    assert parse(BackboneConfig, {"network": "torchvision:resnet18"}).network == "torchvision:resnet18"
