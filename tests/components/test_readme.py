import ast
import importlib
import inspect
import shutil

import jsonschema
import pytest

from components import readme
from longtail.steps.registry import EVERY_STEP

KINDS = ("Artifact", "Dataset", "HTML", "Metrics", "Model")
ARTIFACT = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": [*KINDS, *(f"list of {kind}" for kind in KINDS)]},
        "schema": {"type": "string", "pattern": r"^longtail\.[a-z]+$"},
        "schema_version": {"type": "integer", "minimum": 1},
    },
    "dependentRequired": {"schema": ["schema_version"], "schema_version": ["schema"]},
}
FAILURE = {
    "type": "object",
    "required": ["when", "then"],
    "additionalProperties": False,
    "properties": {"when": {"type": "string"}, "then": {"type": "string"}},
}
METADATA = {
    "type": "object",
    "required": ["name", "stability", "owner", "image", "inputs", "outputs", "failures"],
    "additionalProperties": False,
    "properties": {
        "name": {"enum": list(EVERY_STEP)},
        "stability": {"enum": ["alpha", "beta", "stable"]},
        "owner": {"type": "string", "minLength": 1},
        "image": {"enum": ["cpu"]},
        "inputs": {"type": "object", "additionalProperties": ARTIFACT},
        "outputs": {"type": "object", "minProperties": 1, "additionalProperties": ARTIFACT},
        "failures": {"type": "array", "minItems": 1, "items": FAILURE},
    },
}
WRITERS = {
    "longtail.dataset": "longtail.data.dataset",
    "longtail.network": "longtail.networks.classifier",
    "longtail.features": "longtail.features.extraction",
    "longtail.shard": "longtail.shards",
    "longtail.samples": "longtail.calibration.artifact",
    "longtail.hessian": "longtail.hessian.report",
    "longtail.results": "longtail.steps.evaluation",
    "longtail.heads": "longtail.steps.head_curvature",
    "longtail.sweep": "longtail.steps.sweep_summary",
    "longtail.gate": "longtail.steps.promotion",
    "longtail.drift": "longtail.steps.drift_check",
}


def test_every_step_is_a_component():
    assert readme.names() == sorted(EVERY_STEP)


def test_readmes_are_in_sync(capsys):
    assert readme.main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_what_is_out_of_date_and_writes_nothing(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "components"
    shutil.copytree(readme.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(readme, "FOLDER", folder)
    metadata = folder / "evaluation" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("owner: longtail", "owner: somebody"))
    before = (folder / "evaluation" / "README.md").read_text()
    assert readme.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "components/evaluation/README.md is out of date: run python -m components.readme"
    ]
    assert (folder / "evaluation" / "README.md").read_text() == before
    assert readme.main([]) == 0
    assert "owner: somebody" in (folder / "evaluation" / "README.md").read_text()
    assert readme.main(["--check"]) == 0


def test_a_readme_shows_defaults_ranges_and_choices():
    rows = readme.readme("backbone_training").splitlines()
    assert "| `backbone.warmup` | `0.15` | number from 0 to 1 |" in next(row for row in rows if "warmup" in row)
    assert "| `crop_flip`, `crop`, " in next(row for row in rows if "augmentation" in row)
    assert "| `30` | whole number, at least 1 |" in next(row for row in rows if "backbone.epochs" in row)
    assert "| `baseline`, `crt`, `tailcalib`, `tailcalibx` | list of text |" in readme.readme("classifier_retraining")


def test_a_readme_shows_settings_of_groups_inside_a_group():
    rows = readme.readme("backbone_training").splitlines()
    assert "| `0.5` | number, at least 0 |" in next(row for row in rows if "`backbone.loss.margin`" in row)
    assert "| empty | list of text |" in readme.readme("feature_import")
    assert not [name for name in readme.names() if "_MISSING_TYPE" in readme.readme(name)]


@pytest.mark.parametrize("name", readme.names())
def test_metadata_has_the_schema(name):
    metadata = readme.read_metadata(name)
    jsonschema.validate(metadata, METADATA)
    assert metadata["name"] == name


@pytest.mark.parametrize("name", readme.names())
def test_metadata_is_what_the_signature_and_the_registry_say(name):
    metadata, component = readme.read_metadata(name), readme.load(name)
    arguments = component.component_spec
    declared = {
        key: _kind(value) for key, value in (arguments.inputs or {}).items() if value.type.startswith("system.")
    }
    assert {key: entry["type"] for key, entry in metadata["inputs"].items()} == declared
    assert {key: entry["type"] for key, entry in metadata["outputs"].items()} == {
        key: _kind(value) for key, value in arguments.outputs.items() if value.type.startswith("system.")
    }
    assert tuple(metadata["inputs"]) == EVERY_STEP[name].inputs
    assert tuple(key for key, entry in metadata["outputs"].items() if "schema" in entry) == EVERY_STEP[name].outputs


def _kind(artifact):
    kind = artifact.type.removeprefix("system.").partition("@")[0]
    return f"list of {kind}" if artifact.is_artifact_list else kind


@pytest.mark.parametrize("name", readme.names())
def test_metadata_has_the_version_that_the_code_writes(name):
    metadata = readme.read_metadata(name)
    for entry in [*metadata["inputs"].values(), *metadata["outputs"].values()]:
        if "schema" in entry:
            module = importlib.import_module(WRITERS[entry["schema"]])
            assert (entry["schema"], entry["schema_version"]) == (module.SCHEMA, module.SCHEMA_VERSION)


@pytest.mark.parametrize("name", readme.names())
def test_a_component_is_thin(name):
    tree = ast.parse((readme.FOLDER / name / "component.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 1
    body = functions[0].body[1:]
    assert body[-1].end_lineno - body[0].lineno < 15


@pytest.mark.parametrize("name", readme.names())
def test_a_component_has_inputs_then_outputs_then_few_parameters(name):
    """Inputs that it can do without come last, as Python has arguments with defaults there."""
    metadata, optional = readme.read_metadata(name), EVERY_STEP[name].optional
    signature = list(inspect.signature(readme.load(name).python_func).parameters)
    artifacts = [*(key for key in metadata["inputs"] if key not in optional), *metadata["outputs"]]
    assert signature[: len(artifacts)] == artifacts
    assert tuple(signature[len(signature) - len(optional) :]) == optional
    assert len(signature) - len(artifacts) - len(optional) <= 6


def test_components_know_nothing_of_pipelines():
    for path in readme.FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [module for module in modules if module.split(".")[0] == "pipelines"], path
