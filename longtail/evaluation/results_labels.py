"""What a run's settings make it in the results table: names of methods and bases, and the protocol."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from longtail.config import PipelineConfig, TracePenaltyConfig, parse, to_dict
from longtail.settings import resolve

METHODS = {
    "baseline": "as trained",
    "crt": "cRT",
    "tau_norm": "tau-norm",
    "logit_adjustment": "logit adjustment",
    "modals": "MODALS",
    "tailcalib": "TailCalib",
    "tailcalibx": "TailCalibX",
}
"""Names of the retraining methods, in the order they are shown in."""
AS_TRAINED = METHODS["baseline"]

_HARMLESS = {"retraining.fresh"}
"""In the preset `reference`, but a matter of cost and no quirk."""
_HEADS = {"linear": "", "cosine": "Cosine", "cosine_reference": "Cosine"}
_AUGMENTATIONS = {
    "crop_flip": "",
    "crop": "+crops only",
    "autoaugment": "+AutoAugment",
    "randaugment": "+RandAugment",
    "trivialaugment": "+TrivialAugment",
    "none": "+no augmentation",
}
_MIXINGS = {"none": "", "mixup": "+mixup", "cutmix": "+CutMix"}
_FREE = re.compile(
    r"seed|data\.(seed|path|source|image_column|label_column)|backbone\.(checkpoint_seconds|distillation\.teacher_seed"
    r"|curvature\..*)"
    r"|features\.batch_size|retraining\.methods|hessian\..*"
)
"""Settings in which runs that are averaged may differ."""


def settings(params: Mapping[str, str]) -> PipelineConfig:
    """Return the settings of a run from its MLflow parameters; one that is missing has its default.

    Raises:
        InputError: If a parameter is no setting, or has a value that is not allowed.
    """
    nested: dict[str, Any] = {}
    defaults = _flat(PipelineConfig())
    for key, text in params.items():
        *groups, last = key.split(".")
        group = nested
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = json.loads(text) if isinstance(defaults.get(key), list) else text
    return parse(PipelineConfig, nested)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that two runs do not share and may not differ in if they are averaged, by dotted name."""
    ours, theirs = _flat(settings(one)), _flat(settings(other))
    return {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key] and not _FREE.fullmatch(key)}


def has(params: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether a run's settings have some values, given as text under dotted names."""
    ours, theirs = _flat(settings(params)), _flat(settings(wanted))
    return all(ours[key] == theirs[key] for key in wanted)


def base_label(config: PipelineConfig) -> str:
    """Return what a network was trained with: loss and head, then everything that is not plain, after a plus."""
    backbone, loss = config.backbone, config.backbone.loss
    weighted = loss.reweighting_from < 1
    core = {
        "cross_entropy": f"{_HEADS[backbone.head]}CE",
        "balanced_softmax": "BalancedSoftmax",
        "logit_adjustment": "LogitAdjusted" if loss.tau == 1 else f"LogitAdjusted({loss.tau:g})",
        "ldam": "LDAM-DRW" if weighted else "LDAM",
    }[loss.name]
    expected_sampler = "instance"
    if backbone.distillation.weight > 0:
        core = "CBD" if loss.name == "cross_entropy" else f"CBD+{core}"
        expected_sampler = "class_aware"
    suffixes = [
        "+linear head" if backbone.head == "linear" and core != "CE" else "",
        "+DRW" if weighted and loss.name != "ldam" else "",
        f"+{loss.sampler.replace('_', '-')} sampling" if loss.sampler != expected_sampler else "",
        _AUGMENTATIONS[backbone.augmentation],
        "+colour jitter" if backbone.colour_jitter else "",
        "+Cutout" if backbone.cutout else "",
        _MIXINGS[backbone.mixing],
        "+given weights" if backbone.weights else "",
        "+frozen" if backbone.trainable == "head" else "",
        _penalty(backbone.trace_penalty),
        "+validation" if config.data.validation in {"chosen", "unchosen"} else "",
    ]
    return core + "".join(suffixes)


def _penalty(config: TracePenaltyConfig) -> str:
    if not config.weight:
        return ""
    return "+HTR" if config.layers == ("all",) else f"+HTR {','.join(config.layers)}"


def protocol(config: PipelineConfig) -> str:
    """Return `reference` if any of the `quirks` is in the settings, else `clean`."""
    values = _flat(config)
    return "reference" if any(values[key] == value for key, value in quirks().items()) else "clean"


@functools.cache
def quirks() -> dict[str, Any]:
    """Return the settings, by dotted name, that copy a quirk of the paper's code: the preset `reference`."""
    defaults = _flat(PipelineConfig())
    given = _flat(resolve("reference"))
    return {key: value for key, value in given.items() if value != defaults[key] and key not in _HARMLESS}


def _flat(config: PipelineConfig) -> dict[str, Any]:
    """Return settings under dotted names."""

    def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from flatten(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(flatten(to_dict(config)))
