import json

import pytest

from longtail.config import PipelineConfig, RetrainingConfig, parse, to_dict
from longtail.errors import InputError
from longtail.evaluation.results_labels import METHODS, base_label, differences, has, protocol, quirks, settings
from longtail.settings import preset_names, resolve


def text(config):
    """Return settings as MLflow keeps them."""

    def flat(values, prefix=""):
        for key, value in values.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)

    return dict(flat(to_dict(config)))


def changed(*overrides):
    return resolve("cifar100-lt", overrides)


@pytest.mark.parametrize("preset", preset_names())
def test_settings_come_back_from_text(preset):
    assert settings(text(resolve(preset))) == resolve(preset)


def test_what_is_missing_has_its_default():
    assert settings({"seed": "3", "backbone.loss.name": "ldam"}) == parse(
        PipelineConfig, {"seed": 3, "backbone": {"loss": {"name": "ldam"}}}
    )


def test_a_setting_of_another_release_is_refused():
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        settings({"backbone.epocs": "3"})


def test_every_method_has_a_name():
    assert set(METHODS) == set(RetrainingConfig.__dataclass_fields__["methods"].metadata["items"])


@pytest.mark.parametrize(
    ("preset", "label"),
    [
        ("ce", "CE"),
        ("cosine-ce", "CosineCE"),
        ("cbd", "CBD"),
        ("balanced-softmax", "BalancedSoftmax"),
        ("balanced-softmax,strong-augmentation", "BalancedSoftmax+AutoAugment+Cutout"),
        ("logit-adjustment", "LogitAdjusted"),
        ("ldam-drw", "LDAM-DRW"),
        ("reference", "CosineCE"),
        ("ce,htr", "CE+HTR"),
        ("ce,htr-middle", "CE+HTR middle"),
    ],
)
def test_base_of_a_method(preset, label):
    assert base_label(resolve(f"cifar100-lt,{preset}")) == label


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "CosineCE"),
        (["backbone.distillation.weight=0.8"], "CBD+instance sampling"),
        (["backbone.loss.name=balanced_softmax", "backbone.head=linear"], "BalancedSoftmax+linear head"),
        (["backbone.loss.name=logit_adjustment", "backbone.loss.tau=0.5"], "LogitAdjusted(0.5)"),
        (["backbone.loss.name=ldam"], "LDAM"),
        (["backbone.loss.reweighting_from=0.8"], "CosineCE+DRW"),
        (["backbone.loss.sampler=class_aware"], "CosineCE+class-aware sampling"),
        (["backbone.mixing=mixup"], "CosineCE+mixup"),
        (["data.validation=unchosen"], "CosineCE+validation"),
        (["data.validation=test"], "CosineCE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_base(overrides, label):
    assert base_label(changed(*overrides)) == label


def test_every_choice_has_a_label():
    fields = type(PipelineConfig().backbone).__dataclass_fields__
    for name in ("head", "augmentation", "mixing"):
        for value in fields[name].metadata["choices"]:
            assert base_label(changed(f"backbone.{name}={value}"))


@pytest.mark.parametrize("preset", ["cifar100-lt", "cifar100-lt-paper"])
def test_a_preset_without_quirks_is_clean(preset):
    assert protocol(resolve(preset)) == "clean"


def test_quirks_are_those_of_the_papers_code():
    assert quirks() == {
        "data.validation": "test",
        "backbone.distillation.teacher_subset": "own",
        "backbone.distillation.teacher_batch_norm": "train",
        "backbone.head": "cosine_reference",
        "backbone.schedule": "cosine_epochs",
        "backbone.head_schedule": "constant",
        "calibration.statistics": "raw",
        "calibration.alpha_on": "all",
        "retraining.crt_batch_norm": "train",
        "retraining.epoch_length": "real",
    }


@pytest.mark.parametrize("key", quirks())
def test_one_quirk_is_enough_for_the_reference_protocol(key):
    assert protocol(changed(f"{key}={quirks()[key]}")) == "reference"


def test_values_are_compared_as_settings_not_as_text():
    params = text(changed("data.imbalance_factor=50", "retraining.methods=[crt]"))
    assert has(params, {"data.imbalance_factor": "50", "retraining.methods": '["crt"]'})
    assert has(params, {})
    assert not has(params, {"data.imbalance_factor": "100"})
    with pytest.raises(InputError, match=r"'data\.factor' is not a setting"):
        has(params, {"data.factor": "100"})


def test_differences_are_those_that_matter():
    one = text(changed())
    other = text(changed("seed=2", "data.seed=2", "calibration.n_neighbors=5", "hessian.probes=4"))
    assert differences(one, one) == {}
    assert differences(one, other) == {"calibration.n_neighbors": (2, 5)}
