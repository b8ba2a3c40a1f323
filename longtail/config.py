"""Every setting of every step, once: frozen dataclasses with their defaults, parsed and checked.

Values may arrive from YAML, from `key=value` on a command line or from Kubeflow Pipelines, which turns every
number inside a dict parameter into a float; `parse` brings each to its declared type or says what is wrong.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longtail.errors import InputError

Config = TypeVar("Config")


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


def _items(*default: str) -> Any:
    return field(default=default, metadata={"items": default})


def _number(default: float, minimum: float | None = None, maximum: float | None = None) -> Any:
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclass(frozen=True)
class DataConfig:
    """What the long-tailed data set is made from, and how long its tail is."""

    source: str = _choice("digits", "parquet", "imagefolder", "cifar10", "cifar100")
    """Kind of source; given a path, the command line finds it out by looking."""
    path: str = ""
    """Local path or `s3://bucket/prefix`; empty for `digits`, and for CIFAR to download it."""
    image_column: str = "img"
    """Parquet column of encoded images: bytes, or a struct with `bytes`."""
    label_column: str = "fine_label"
    """Parquet column of labels."""
    profile: str = _choice("exponential", "step", "natural")
    """How class counts fall: exponentially (the paper), half the classes small, or as they are."""
    imbalance_factor: float = _number(100.0, minimum=1.0)
    """Largest class count over smallest; ignored by the `natural` profile."""
    largest_class: int = _number(0, minimum=0)
    """Images in the largest class; 0 takes what the smallest class of the source can give, less what `unchosen`
    validation needs."""
    validation: str = _choice("none", "unchosen", "chosen")
    """`unchosen`: a balanced set of training images that were not chosen; `chosen`: a share of the chosen."""
    validation_per_class: int = _number(10, minimum=1)
    """Validation images of a class."""
    image_size: int = _number(0, minimum=0)
    """Side in pixels that every image is resized to; 0 keeps the images as they are."""
    seed: int = _number(0, minimum=0)
    """Chooses the images and nothing else."""


@dataclass(frozen=True)
class BackboneConfig:
    """The network, and the recipe that trains it on the imbalanced images."""

    network: str = _choice("small_cnn", "lenet", "resnet32", "resnet32_128")
    """Backbone; `resnet32_128` is the paper's, with 128 features."""
    head: str = _choice("cosine", "linear", "cosine_reference")
    """Classifier; `cosine_reference` normalises the weight as the paper's code does."""
    scale: float = _number(10.0, minimum=0.0)
    """Initial scale of a cosine head."""
    epochs: int = _number(30, minimum=1)
    """Passes over the training images."""
    batch_size: int = _number(128, minimum=1)
    """Images of a step, over all processes."""
    learning_rate: float = _number(0.2, minimum=0.0)
    """Largest learning rate of SGD."""
    schedule: str = _choice("onecycle", "cosine", "constant")
    """How the rate moves over the steps."""
    warmup: float = _number(0.15, minimum=0.0, maximum=1.0)
    """Share of the steps in which `onecycle` raises the rate from near zero to its peak."""
    momentum: float = _number(0.9, minimum=0.0, maximum=1.0)
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: float = _number(5e-4, minimum=0.0)
    """L2 penalty on every parameter."""
    augmentation: str = _choice("crop_flip", "crop", "none")
    """Random shifts by an eighth of the side, with or without mirroring."""
    precision: str = _choice("auto", "float32", "bfloat16")
    """`auto`: bfloat16 where the hardware multiplies it natively."""
    checkpoint_seconds: float = _number(30.0, minimum=0.0)
    """Write a checkpoint at the first end of a step after this many seconds."""


@dataclass(frozen=True)
class FeaturesConfig:
    """Which views of the images are turned into features."""

    views: int = _number(0, minimum=0)
    """Augmented views of the training split, beside the clean one."""
    batch_size: int = _number(256, minimum=1)
    """Images of a forward pass."""


@dataclass(frozen=True)
class CalibrationConfig:
    """TailCalib (arXiv 2111.05956): how a tail class borrows its distribution from its nearest classes."""

    n_neighbors: int = _number(3, minimum=1)
    """K: nearest classes that calibrate a feature, its own among them."""
    tukey: float = _number(1.0, minimum=0.0)
    """Power of Tukey's transform; 1 leaves features as they are, 0 is the logarithm."""
    alpha: float = _number(0.0, minimum=0.0)
    """Added to the calibrated covariance."""
    alpha_on: str = _choice("diagonal", "all")
    """Where alpha is added; `all` entries, as the paper's code does."""
    eps: float = _number(1e-4, minimum=0.0)
    """Added to the diagonal of the calibrated covariance."""


@dataclass(frozen=True)
class RetrainingConfig:
    """How each classifier is retrained on the frozen features."""

    methods: tuple[str, ...] = _items("baseline", "crt", "tailcalib", "tailcalibx")
    """One classifier each; gains are counted over the first."""
    epochs: int = _number(5, minimum=1)
    """Passes over as many features as the balanced set has."""
    batch_size: int = _number(128, minimum=1)
    """Features of a step."""
    learning_rate: float = _number(0.01, minimum=0.0)
    """Constant rate of TailCalib and TailCalibX, which go on from the trained head."""
    momentum: float = _number(0.7, minimum=0.0, maximum=1.0)
    """Momentum of SGD."""
    weight_decay: float = _number(5e-4, minimum=0.0)
    """L2 penalty on the head."""
    crt_learning_rate: float = _number(0.2, minimum=0.0)
    """Peak rate of cRT's new head; it starts from scratch, so it needs a larger one and a cosine schedule."""


@dataclass(frozen=True)
class HessianConfig:
    """Layerwise curvature of the trained network (arXiv 2012.03801)."""

    images_per_class: int = _number(1, minimum=1)
    """Training images of a class in the fixed subset."""
    probes: int = _number(8, minimum=2)
    """Random probes of each trace."""
    lanczos_steps: int = _number(20, minimum=2)
    """Products of each Lanczos run."""
    density_runs: int = _number(1, minimum=1)
    """Lanczos runs that a density is averaged over."""
    batch_size: int = _number(100, minimum=1)
    """Images of a twice differentiable graph: memory grows with it."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Accuracy by how many training images a class has; the defaults are the paper's thresholds."""

    many_above: int = _number(100, minimum=0)
    """A class with more training images counts as many-shot."""
    few_below: int = _number(20, minimum=0)
    """A class with fewer training images counts as few-shot."""


@dataclass(frozen=True)
class PipelineConfig:
    """All of a run: one group a step, and the seed of everything except the choice of images."""

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    hessian: HessianConfig = field(default_factory=HessianConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = _number(1, minimum=0)
    """Each step draws from a child of it."""


def parse(cls: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """Return a config dataclass built from plain values.

    Args:
        cls: One of this module's dataclasses.
        values: Plain values by field name; missing fields keep their default.
        where: Name of the group, for error messages.

    Raises:
        InputError: If a key is unknown (the nearest known one is named), a value has the wrong type, or it
            lies outside its range or choices.
    """
    hints = get_type_hints(cls)
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
    resolved = {}
    for key, value in values.items():
        name = f"{where}.{key}" if where else key
        if key not in fields:
            raise InputError(f"{name!r} is not a setting{_suggest(str(key), fields)}")
        resolved[key] = _coerce(hints[key], value, name)
        _check_range(resolved[key], fields[key].metadata, name)
    return cls(**resolved)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain JSON values, the inverse of `parse`."""
    return dataclasses.asdict(
        config,
        dict_factory=lambda items: {key: list(value) if isinstance(value, tuple) else value for key, value in items},
    )


def _suggest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f": choose from {', '.join(sorted(known))}"


def _coerce(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{name} is {value!r}: give a group of settings, such as {name}.KEY=VALUE")
        return parse(typing.cast("type[Any]", hint), value, name)
    if get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [item.strip() for item in value.strip("[] ").split(",") if item.strip()]
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{name} is {value!r}: give a list")
        return tuple(_coerce(get_args(hint)[0], item, name) for item in value)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{name}: a setting has one type")
    return _coerce_scalar(hint, value, name)


def _coerce_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise InputError(f"{name} is {value!r}: give true or false")
    if hint is str:
        if not isinstance(value, str):
            raise InputError(f"{name} is {value!r}: give text")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InputError(f"{name} is {value!r}: give a number")
    try:
        number = float(value)
    except ValueError:
        raise InputError(f"{name} is {value!r}: give a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise InputError(f"{name} is {value!r}: give a finite number")
    if hint is int:
        if not number.is_integer():
            raise InputError(f"{name} is {value!r}: give a whole number")
        return int(number)
    return number


def _check_range(value: Any, metadata: Mapping[str, Any], name: str) -> None:
    choices = metadata.get("choices")
    if choices is not None and value not in choices:
        raise InputError(f"{name} is {value!r}: choose from {', '.join(choices)}")
    items = metadata.get("items")
    if items is not None:
        if not value or len(set(value)) < len(value):
            raise InputError(f"{name} is {list(value)}: give one or more different ones of {', '.join(items)}")
        for item in value:
            if item not in items:
                raise InputError(f"{name} has {item!r}{_suggest(item, items)}")
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    if minimum is not None and value < minimum:
        raise InputError(f"{name} is {value!r}: it must be at least {minimum:g}")
    if maximum is not None and value > maximum:
        raise InputError(f"{name} is {value!r}: it must be at most {maximum:g}")
