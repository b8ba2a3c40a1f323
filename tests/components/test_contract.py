"""What holds for every component: metadata, refusal of bad input, equal bytes for an equal seed."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from components import readme
from longtail.artifacts import artifact_digest, open_artifact, sha256_file
from longtail.steps.registry import FEATURE_STEPS
from longtail.steps.registry import STEPS as IMAGE_STEPS
from longtail.tracking.run import git_commit

STEPS = IMAGE_STEPS | FEATURE_STEPS
METHODS = ("baseline", "tailcalib")
LABELS = [
    label
    for step in STEPS
    for label in ([f"{step}/{method}" for method in METHODS] if STEPS[step].per_method else [step])
]


def _step(label):
    return label.partition("/")[0]


def _parameters(label):
    return {"method": label.partition("/")[2]} if "/" in label else {}


def _folders(outputs, label):
    return {name: Path(outputs[label][name].path) for name in STEPS[_step(label)].outputs}


@pytest.mark.parametrize("label", LABELS)
def test_outputs_are_whole_artifacts_of_their_schema(chain, label):
    entries = readme.read_metadata(_step(label))["outputs"]
    for name, folder in _folders(chain, label).items():
        open_artifact(folder, entries[name]["schema"], entries[name]["schema_version"])
    written = {path.name for path in Path(next(iter(_folders(chain, label).values()))).parent.iterdir()}
    assert written == set(entries)  # of all outputs: the local cache takes one without a file for lost


@pytest.mark.parametrize("label", LABELS)
def test_outputs_carry_metadata(chain, label):
    for name, artifact in chain[label].items():
        metadata = artifact.metadata
        assert metadata["schema_version"] == 1
        assert re.match(r"[0-9a-f]{40}", metadata["git_commit"]) and git_commit()[:40] == metadata["git_commit"][:40]
        assert metadata["seed"] == (0 if _step(label) in ("data_imbalancing", "feature_import", "evaluation") else 3)
        if Path(artifact.path).is_dir():
            assert metadata["sha256"] == artifact_digest(Path(artifact.path)), name
        json.dumps(metadata, allow_nan=False)


@pytest.mark.parametrize("label", LABELS)
def test_lineage_names_the_run_of_every_step_before(chain, inputs, label):
    for name, artifact in chain[label].items():
        lineage = artifact.metadata["lineage"]
        assert lineage[label]["run_id"] == artifact.metadata["mlflow_run_id"] != ""
        assert lineage[label]["seconds"] > 0
        if name in STEPS[_step(label)].brief:
            assert set(lineage) == {label}
            continue
        for given in inputs(_step(label)).values():
            for upstream in given if isinstance(given, list) else [given]:
                assert upstream.metadata["lineage"].items() <= lineage.items()


def test_the_last_lineage_holds_everything_but_the_backbone_s_curvature(chain):
    expected = {*LABELS} - {"hessian_analysis", *FEATURE_STEPS}
    assert set(chain["head_curvature"]["head_curvature"].metadata["lineage"]) == expected


@pytest.mark.parametrize("label", LABELS)
def test_pages_are_self_contained_html(chain, label):
    report = chain[label].get("report")
    if report is None:
        assert not STEPS[_step(label)].page
        return
    page = Path(report.path).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert not re.search(r"""(src|href)=["']?https?://""", page)


@pytest.mark.parametrize("label", LABELS)
def test_the_same_seed_gives_the_same_bytes(chain, again, label):
    for name, folder in _folders(chain, label).items():
        second = Path(again[label][name].path)
        assert _files(folder) == _files(second)
        assert _steady(folder) == _steady(second)


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def _steady(folder):
    """Return a manifest without how fast training was, and without the digests of manifests that tell it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("backbone_digest", None)
    for epoch in manifest.get("history", []):
        for name in ("train/seconds", "train/images_per_second"):
            epoch.pop(name, None)
    return manifest


def test_results_do_not_need_a_tracking_server(again):
    for label in LABELS:
        assert {artifact.metadata["mlflow_run_id"] for artifact in again[label].values()} == {""}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"epocs": 2.0}, "'{group}.epocs' is not a setting"),
        ({"{first}": [1]}, "{group}.{first} is \\[1\\]"),
    ],
    ids=["unknown", "type"],
)
def test_a_wrong_setting_is_refused_before_any_work(call, inputs, refuses, tmp_path, label, config, message):
    step = STEPS[_step(label)]
    names = {"group": step.group, "first": dataclasses.fields(step.config)[-1].name}
    given = {key.format(**names): value for key, value in config.items()}
    out = tmp_path / "out"
    line = refuses(lambda: call(_step(label), out, inputs(_step(label)), given, **_parameters(label)), out)
    assert re.search(message.format(**names), line)


@pytest.mark.parametrize("label", LABELS)
def test_half_a_whole_number_is_refused(call, inputs, refuses, tmp_path, label):
    step = STEPS[_step(label)]
    key = {"table": "split_seed", "data": "seed", "features": "views"}.get(step.group)
    key = key or {"backbone": "epochs", "head": "epochs", "retraining": "epochs"}.get(step.group)
    key = key or {"calibration": "n_neighbors", "hessian": "probes", "evaluation": "many_above"}[step.group]
    out = tmp_path / "out"
    line = refuses(lambda: call(_step(label), out, inputs(_step(label)), {key: 2.5}, **_parameters(label)), out)
    assert line == f"error: {step.group}.{key} is 2.5: give a whole number"


@pytest.mark.parametrize(("label", "name"), [(label, name) for label in LABELS for name in STEPS[_step(label)].inputs])
@pytest.mark.parametrize("spoil", ["file", "manifest", "lost", "other", "version"])
def test_an_upstream_artifact_that_was_changed_is_refused(call, inputs, refuses, copied, tmp_path, label, name, spoil):
    given = inputs(_step(label))
    many = isinstance(given[name], list)
    artifact = copied(given[name][-1] if many else given[name])
    message = SPOIL[spoil](Path(artifact.path), artifact)
    given[name] = [*given[name][:-1], artifact] if many else artifact
    out = tmp_path / "out"
    line = refuses(lambda: call(_step(label), out, given, **_parameters(label)), out)
    assert message in line and artifact.path in line


def _spoil_file(folder, _artifact):
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    return "does not match its digest"


def _spoil_manifest(folder, _artifact):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": ', '"schema_version":  '))
    return "does not match the digest"


def _lose(folder, _artifact):
    folder.rename(folder.with_name("elsewhere"))
    return "run again without cache"


def _be_another(folder, artifact):
    _edit(folder, artifact, schema="longtail.other")
    return "holds 'longtail.other'"


def _be_newer(folder, artifact):
    _edit(folder, artifact, schema_version=9)
    return "has schema version 9, this release reads"


def _edit(folder, artifact, **fields):
    manifest = json.loads((folder / "manifest.json").read_text()) | fields
    (folder / "manifest.json").write_text(json.dumps(manifest))
    artifact.metadata["sha256"] = artifact_digest(folder)


SPOIL = {"file": _spoil_file, "manifest": _spoil_manifest, "lost": _lose, "other": _be_another, "version": _be_newer}
