"""Presets: named settings in YAML, and how overrides are laid over them."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from longtail.config import PipelineConfig, parse
from longtail.errors import InputError

FOLDER = Path(__file__).parent / "presets"
METHODS_FOLDER = FOLDER / "methods"


def preset_names() -> list[str]:
    """Return the names of the presets that come with Longtail: data sets, then methods to lay over them."""
    return [*_names(FOLDER), *_names(METHODS_FOLDER)]


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def resolve(preset: str, overrides: Iterable[str] = (), data: str = "", features: str = "") -> PipelineConfig:
    """Return a preset's settings with overrides laid over them.

    Args:
        preset: A preset's name, or the path of a YAML file in the same layout; several, separated by commas, are laid
            over each other from left to right, such as `cifar100-lt,cbd-tailcalibx`. Empty takes `features` for a table
            of features, else `digits`.
        overrides: `group.key=value`, such as `backbone.epochs=3`; values are read as YAML.
        data: Path or `s3://` address of the images; what kind of data set lies there is found out by looking.
        features: Path or `s3://` address of a table of features to start from instead.

    Raises:
        InputError: If the preset, a key, a value or the path is wrong.
    """
    values: dict[str, Any] = {}
    for name in (preset or ("features" if features else "digits")).split(","):
        _lay_over(values, _read(name.strip()))
    if data and features:
        raise InputError(f"{data} are images and {features} features: start from one of them")
    if features:
        values |= {"start": "features", "table": {**_group(values, "table"), "path": features}}
    if data:
        from longtail.data.sources import detect_source

        group = _group(values, "data")
        values["data"] = {**group, "path": data, "source": detect_source(data, group.get("source", ""))}
    for override in overrides:
        _set(values, override)
    return parse(PipelineConfig, values)


def _read(preset: str) -> dict[str, Any]:
    folder = METHODS_FOLDER if preset in _names(METHODS_FOLDER) else FOLDER
    path = folder / f"{preset}.yaml" if preset in preset_names() else Path(preset)
    if not path.is_file():
        near = difflib.get_close_matches(preset, preset_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(preset_names())} or give a YAML file"
        raise InputError(f"{preset!r} is not a preset: {hint}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds {type(values).__name__}: a preset is a mapping of groups of settings")
    return values


def _lay_over(values: dict[str, Any], upper: dict[str, Any]) -> None:
    """Replace settings by those of an upper preset; groups are merged."""
    for key, value in upper.items():
        below = values.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _lay_over(below, value)
        else:
            values[key] = value


def _group(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a preset's group of settings."""
    group = values.get(name) or {}
    if not isinstance(group, dict):
        raise InputError(f"{name} is {group!r}: give a group of settings, such as {name}.KEY=VALUE")
    return group


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"{override!r} is not a setting: write group.key=value, such as backbone.epochs=3")
    *groups, last = key.strip().split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise InputError(f"{override!r} goes through {group!r}, which is not a group of settings")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{override!r}: {text!r} cannot be read as a YAML value") from None
