"""The points of a sweep: every combination of the given settings and seeds, checked before any of them runs."""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from longtail.config import PipelineConfig
from longtail.errors import InputError
from longtail.settings import resolve

_PAIRS = {"[": "]", "{": "}", "(": ")"}
_GROUPS = tuple(field.name for field in dataclasses.fields(PipelineConfig) if dataclasses.is_dataclass(field.type))


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        settings: Value of each swept setting, as it was given.
        config: All settings.
    """

    settings: Mapping[str, str]
    config: PipelineConfig

    @property
    def label(self) -> str:
        """Return what tells this point from the others."""
        return " ".join([*(f"{key}={value}" for key, value in self.settings.items()), f"seed={self.config.seed}"])


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep.

    Attributes:
        title: What is swept, in a line.
        grid: Values of each swept setting.
        seeds: Seeds of the pipeline.
        points: In an order in which points that share their first steps follow each other.
        held: The preset's value of each swept setting if it is among its values, else the first of them.
    """

    title: str
    grid: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    held: Mapping[str, str]

    def summary(self, points: Iterable[Point]) -> dict[str, Any]:
        """Return the settings of the step `sweep_summary` for results of these points."""
        described = [{"seed": point.config.seed, "settings": dict(point.settings)} for point in points]
        return {"points": [json.dumps(value) for value in described], "held": json.dumps(dict(self.held))}


def plan(
    preset: str,
    grid: Sequence[str],
    seeds: str = "",
    overrides: Sequence[str] = (),
    *,
    data: str = "",
    features: str = "",
) -> Sweep:
    """Return a sweep whose points were all checked.

    Args:
        preset: As in `longtail.settings.resolve`; so are `overrides`, `data` and `features`.
        grid: `GROUP.KEY=V1,V2,…`, one for each swept setting; commas inside brackets or quotes part no values.
        seeds: Whole numbers, separated by commas; empty for the preset's one.
        overrides: Settings of all points.
        data: Path or address of images.
        features: Path or address of a table of features.

    Raises:
        InputError: If the grid or the seeds are malformed, two points are the same, or a point's settings are wrong.
    """
    axes = _axes(grid)
    base = resolve(preset, overrides, data, features)
    chosen = _seeds(seeds) or (base.seed,)
    order = sorted([*axes, "seed"], key=_stage)
    points = []
    for values in itertools.product(*(axes.get(key) or map(str, chosen) for key in order)):
        at = dict(zip(order, values, strict=True))
        changes = [*overrides, *(f"{key}={value}" for key, value in at.items())]
        config = resolve(preset, changes, data, features)
        points.append(Point({key: at[key] for key in axes}, config))
    _check_distinct(points)
    held = {key: _held(key, values, base, points) for key, values in axes.items()}
    number = f"{len(chosen)} seeds" if len(chosen) > 1 else f"seed {chosen[0]}"
    name = ", ".join(Path(part.strip()).stem for part in preset.split(",")) or Path(features).stem or "digits"
    return Sweep(f"sweep {name}: {' × '.join([*axes, number])}", axes, chosen, tuple(points), held)


def rounds(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points in rounds, such that within one no two are the first that need the same step.

    When the points of a round run side by side, each finds the steps of earlier rounds in the cache, so none is
    computed twice. The choice of images is left out of this.
    """
    done: set[Any] = set()
    planned: list[list[Point]] = []
    waiting = list(points)
    while waiting:
        now: list[Point] = []
        later: list[Point] = []
        new: set[Any] = set()
        for point in waiting:
            needed = _steps(point.config) - done
            if needed & new:
                later.append(point)
            else:
                now.append(point)
                new |= needed
        planned.append(now)
        done |= new
        waiting = later
    return planned


def _steps(config: PipelineConfig) -> set[Any]:
    """Return what each step of a run depends on."""
    samples = _without(config, "retraining", "hessian", "evaluation")
    features = _without(samples, "calibration")
    backbone = _without(features, "features")
    curvature = dataclasses.replace(backbone, hessian=config.hessian)
    retraining = dataclasses.replace(config.retraining, methods=())
    retrained = {(dataclasses.replace(samples, retraining=retraining), name) for name in config.retraining.methods}
    named = {"backbone": backbone, "features": features, "samples": samples, "curvature": curvature}
    return {*named.items(), *retrained}


def _without(config: PipelineConfig, *groups: str) -> PipelineConfig:
    """Return the settings with some groups at their defaults."""
    return dataclasses.replace(config, **{group: type(getattr(config, group))() for group in groups})


def _stage(key: str) -> float:
    """Return when a setting first matters; the seed does right after the choice of images."""
    return 0.5 if key == "seed" else _GROUPS.index(_group(key))


def _axes(grid: Sequence[str]) -> dict[str, tuple[str, ...]]:
    axes: dict[str, tuple[str, ...]] = {}
    for text in grid:
        key, separator, values = (part.strip() for part in text.partition("="))
        if key == "seed":
            raise InputError(f"--grid {text!r}: give seeds as --seeds {values or '0,1,2'}")
        if not separator or "." not in key:
            raise InputError(f"--grid {text!r}: write GROUP.KEY=V1,V2,…, such as calibration.n_neighbors=1,2,3")
        if _group(key) not in _GROUPS:
            groups = ", ".join(_GROUPS)
            raise InputError(f"--grid {text!r}: {_group(key)!r} is no group of settings: choose from {groups}")
        if key in axes:
            raise InputError(f"--grid {key} is given twice: give all of its values at once")
        axes[key] = _split(values, text)
    return axes


def _group(key: str) -> str:
    return key.partition(".")[0]


def _split(text: str, where: str) -> tuple[str, ...]:
    """Return the values between commas that stand outside brackets and quotes."""
    parts, closing, quote = [""], [], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _PAIRS:
            closing.append(_PAIRS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        if letter == "," and not closing and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    values = tuple(part.strip() for part in parts)
    if closing or quote:
        raise InputError(f"--grid {where!r} lacks {quote or closing[-1]!r}: close every bracket and quote")
    if not all(values):
        raise InputError(f"--grid {where!r} has an empty value: write GROUP.KEY=V1,V2,…")
    return values


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InputError(f"--seeds {text!r}: write whole numbers, such as 0,1,2") from None
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {text!r} has a seed twice: give different ones")
    return seeds


def _check_distinct(points: Sequence[Point]) -> None:
    seen: dict[PipelineConfig, Point] = {}
    for point in points:
        first = seen.setdefault(point.config, point)
        if first is not point:
            raise InputError(f"the points {first.label!r} and {point.label!r} are the same: give different values")


def _held(key: str, values: Sequence[str], base: PipelineConfig, points: Sequence[Point]) -> str:
    preset = _value(base, key)
    same = (value for value in values if _value(_first(points, key, value), key) == preset)
    return next(same, values[0])


def _first(points: Sequence[Point], key: str, value: str) -> PipelineConfig:
    return next(point.config for point in points if point.settings[key] == value)


def _value(config: PipelineConfig, key: str) -> Any:
    return reduce(getattr, key.split("."), config)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the options that `plan` takes beside the settings."""
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="GROUP.KEY=V1,V2,…",
        help="values of one setting; given again, every combination",
    )
    parser.add_argument(
        "--seeds", default="", metavar="0,1,2", help="seeds of the pipeline; data.seed, which chooses the images, stays"
    )


def plan_arguments(arguments: argparse.Namespace) -> Sweep:
    """Return `plan` of a command line with settings and the options of `add_grid`."""
    return plan(
        arguments.preset,
        arguments.grid,
        arguments.seeds,
        arguments.set,
        data=arguments.data,
        features=arguments.table,
    )
