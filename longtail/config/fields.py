"""Dataclass fields that say what values a setting may have."""

from dataclasses import field
from typing import Any


def choice(default: str, *others: str) -> Any:
    """Return a field for one of some words, the first by default."""
    return field(default=default, metadata={"choices": (default, *others)})


def name(choices: tuple[str, ...], prefixes: tuple[str, ...]) -> Any:
    """Return a field for one of the choices, the first by default, or any name that a library gives a meaning."""
    return field(default=choices[0], metadata={"choices": choices, "prefixes": prefixes})


def items(default: tuple[str, ...], *others: str) -> Any:
    """Return a field for one or more different ones of some words."""
    return field(default=default, metadata={"items": (*default, *others)})


def number(default: float, minimum: float | None = None, maximum: float | None = None) -> Any:
    """Return a field for a number in a range; the declared type says whether it must be whole."""
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})
