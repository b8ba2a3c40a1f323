"""Write each component's README.md from its signature, docstring, settings and metadata.

`python -m components.readme` writes them; with `--check` it only tells which are out of date, and then exits with 1.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from longtail.steps.registry import EVERY_STEP

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by `python -m components.readme` from the signature, docstring, settings and metadata. -->"
COMMON_FAILURES = [
    ("a setting is unknown, of the wrong type or out of range", "exit code 2; the allowed values are named"),
    (
        "an input artifact is missing, was changed, or has another schema version",
        "exit code 2; the file and its digest are named",
    ),
    ("the process is killed", "no output is left half written; run it again"),
    (
        "the tracking server fails",
        "a warning; records go to disk until `longtail sync` (`LONGTAIL_TRACKING=strict` makes it an error)",
    ),
]


def names() -> list[str]:
    """Return the names of all components, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/component.py"))


def read_metadata(name: str) -> dict[str, Any]:
    """Return what a component's metadata.yaml holds."""
    return dict(yaml.safe_load((FOLDER / name / "metadata.yaml").read_text(encoding="utf-8")))


def load(name: str) -> Any:
    """Return a component."""
    return getattr(importlib.import_module(f"components.{name}.component"), name)


def readme(name: str) -> str:
    """Return the text of a component's README.md."""
    function = load(name).python_func
    metadata, described = read_metadata(name), _described_arguments(function)
    artifacts = {**metadata["inputs"], **metadata["outputs"]}
    parameters = [key for key in inspect.signature(function).parameters if key not in artifacts]
    lines = [
        f"# {name.replace('_', ' ').capitalize()}",
        NOTE,
        inspect.getdoc(function).partition("\n\n")[0],
        f"`{name}` · stability: {metadata['stability']} · image: {metadata['image']} · owner: {metadata['owner']}",
        "## Inputs",
        _artifact_table(metadata["inputs"], described),
        "## Outputs",
        _artifact_table(metadata["outputs"], described),
        "Each folder is whole or absent, has a `manifest.json` with the SHA-256 of its files, and carries the metadata "
        "`schema_version`, `sha256`, `git_commit`, `seed`, `mlflow_run_id` and `lineage`.",
        "## Parameters",
        _table(["name", "what"], [[f"`{key}`", described[key]] for key in parameters]),
        "## Settings",
        _settings_table(name),
        "## When it fails",
        _table(["when", "then"], _failures(metadata)),
    ]
    return "\n\n".join(lines) + "\n"


def _described_arguments(function: Any) -> dict[str, str]:
    """Return what the docstring's Args section says of each argument."""
    section = inspect.getdoc(function).partition("Args:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _artifact_table(artifacts: dict[str, Any], described: dict[str, str]) -> str:
    rows = [[f"`{name}`", entry["type"], _schema(entry), described[name]] for name, entry in artifacts.items()]
    return _table(["name", "type", "schema", "what"], rows)


def _schema(entry: dict[str, Any]) -> str:
    return f"`{entry['schema']}` {entry['schema_version']}" if "schema" in entry else "–"


def _settings_table(name: str) -> str:
    step = EVERY_STEP[name]
    return _table(["setting", "default", "allowed", "what"], _settings(step.config, step.group))


def _settings(cls: type[Any], group: str) -> list[list[str]]:
    """Return a row for each setting of a group, those of groups inside it in their place."""
    described, rows = _described_settings(cls), []
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.default_factory):
            rows += _settings(field.default_factory, f"{group}.{field.name}")
        else:
            text = described.get(field.name, "")
            rows.append([f"`{group}.{field.name}`", _default(field.default), _allowed(field), text])
    return rows


def _described_settings(cls: type[Any]) -> dict[str, str]:
    """Return the string that follows each field of a dataclass in its source."""
    body = ast.parse(inspect.getsource(cls)).body[0].body
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "empty"
    return f"`{value:g}`" if isinstance(value, (int, float)) else f"`{value}`" if value else "empty"


def _allowed(field: dataclasses.Field[Any]) -> str:
    if choices := field.metadata.get("choices"):
        return ", ".join(f"`{choice}`" for choice in choices)
    kind = {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(field.type, "list of text")
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    if maximum is not None:
        return f"{kind} from {minimum:g} to {maximum:g}"
    return f"{kind}, at least {minimum:g}" if minimum is not None else kind


def _failures(metadata: dict[str, Any]) -> list[list[str]]:
    own = [[failure["when"], failure["then"]] for failure in metadata["failures"]]
    return own + [list(failure) for failure in COMMON_FAILURES]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None."
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 1 if `--check` found a README that is out of date."""
    parser = argparse.ArgumentParser(prog="python -m components.readme", description="Write the components' README.md.")
    parser.add_argument("--check", action="store_true", help="only tell which are out of date")
    check = parser.parse_args(argv).check
    stale = 0
    for name in names():
        path, text = FOLDER / name / "README.md", readme(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.relative_to(FOLDER.parent)} is out of date: run python -m components.readme", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(FOLDER.parent)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
