"""From plain values to settings of the right type and range, and back.

Values may arrive from YAML, from `key=value` on a command line or from Kubeflow Pipelines, which turns every
number inside a dict parameter into a float; `parse` brings each to its declared type or says what is wrong.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longtail.errors import InputError

Config = TypeVar("Config")


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
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{name} is {value!r}: give a mapping")
        return {str(key): _coerce(get_args(hint)[1], item, f"{name}.{key}") for key, item in value.items()}
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
    choices, prefixes = metadata.get("choices"), metadata.get("prefixes", ())
    if choices is not None and value not in choices and not value.startswith(prefixes):
        known = ", ".join([*choices, *(f"{prefix}NAME" for prefix in prefixes)])
        raise InputError(f"{name} is {value!r}: choose from {known}")
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
