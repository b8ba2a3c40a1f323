"""Summary of a sweep: the accuracies of many runs by setting, as a table and figures."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.artifacts import new_artifact, open_artifact, read_json, write_json
from longtail.config import SweepConfig
from longtail.errors import InputError
from longtail.evaluation.metrics import GROUPS
from longtail.evaluation.sweep_figures import heat_figure, methods_figure, setting_figure
from longtail.evaluation.sweep_table import (
    METHODS,
    Point,
    SweepTable,
    table_csv,
    table_rows,
    table_text,
    tabulate,
)
from longtail.pages import Details, Plot, Section, Table, Text, html_report, png
from longtail.steps.execution import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "longtail.sweep"
SCHEMA_VERSION = 1
_RESULTS = ("longtail.results", 1)

Figures = dict[str, tuple["Figure", str]]


def run(config: SweepConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return no metadata; the `summary` artifact (tables, figures, every accuracy) and the page are written."""
    points = _points(config, context.inputs["results"])
    table = tabulate(points)
    held = _held(table, _object(config.held, "held"))
    text, comma_separated = table_text(table), table_csv(table)
    figures = _figures(table, held, METHODS in points[0].settings)
    fields = {"swept": list(points[0].settings), "seeds": list(table.seeds), "methods": list(table.methods)}
    with new_artifact(context.outputs["summary"], SCHEMA, SCHEMA_VERSION, fields) as folder:
        write_json(folder / "points.json", [vars(point) for point in points])
        (folder / "table.txt").write_text(text + "\n", encoding="utf-8")
        (folder / "table.csv").write_text(comma_separated, encoding="utf-8")
        for name, (figure, _) in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    page = _page(table, figures, points)
    context.outputs["report"].write_text(page, encoding="utf-8")
    context.run.log_text(text, "table.txt")
    context.run.log_text(comma_separated, "table.csv")
    context.run.log_text(page, "report.html")
    for name, (figure, _) in figures.items():
        context.run.log_figure(figure, f"{name}.png")
    return {}


def _points(config: SweepConfig, results: list[Path]) -> list[Point]:
    if len(config.points) != len(results):
        raise InputError(f"the sweep has {len(results)} results for {len(config.points)} points: give one for each")
    points = []
    for text, path in zip(config.points, results, strict=True):
        point = _object(text, "points")
        if set(point) != {"settings", "seed"}:
            raise InputError(f"points has {text!r}: give a JSON object with settings and seed")
        open_artifact(path, *_RESULTS)
        points.append(Point(point["settings"], point["seed"], _scores(path)))
    return points


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{name} has {text!r}: give a JSON object")
    return value


def _held(table: SweepTable, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the wanted value of each setting, or the first one if there is no result at it."""
    return {key: wanted[key] if wanted.get(key) in values else values[0] for key, values in table.values.items()}


def _scores(path: Path) -> dict[str, dict[str, float | None]]:
    evaluations = read_json(path / "evaluations.json")
    return {
        method: {"all": values["top1"]} | {group: values[group] for group in GROUPS}
        for method, values in evaluations.items()
    }


def _figures(table: SweepTable, held: Mapping[str, str], methods_swept: bool) -> Figures:
    """Return figures by file name, each with what it shows."""
    figures: Figures = {}
    for key in table.keys:
        shown = f"Accuracy of every method over {key}, all classes and few-shot classes"
        figures[key] = (setting_figure(table, key, held), shown)
    for pair in itertools.combinations(table.keys, 2):
        shown = f"Mean accuracy over {pair[0]} and {pair[1]}"
        figures["-".join(pair)] = (heat_figure(table, pair, held), shown)
    if methods_swept or not table.keys:
        figures["methods"] = (methods_figure(table, held), "Accuracy of every method by class group")
    return figures


def _page(table: SweepTable, figures: Figures, points: list[Point]) -> str:
    header, *rows = table_rows(table)
    seeds = ", ".join(map(str, table.seeds))
    over = f"mean ± standard deviation over the seeds {seeds}" if len(table.seeds) > 1 else f"seed {seeds}"
    explained = (
        f"Accuracy on the test set in percent, by training images of a class; {over}. All seeds of the pipeline see "
        f"the same images; data.seed alone chooses those. A gain is in points over {table.methods[0]}, seed by seed. "
        "A method with “any” is not touched by what was swept."
    )
    return html_report(
        f"Sweep over {', '.join(points[0].settings) or 'seeds'}",
        [
            Section("Table", [Text(explained), Table(header, rows)]),
            Section("Figures", [Plot(figure, shown) for figure, shown in figures.values()]),
            Section("Every result", [Details("accuracy by point", [vars(point) for point in points])]),
        ],
    )
