"""Every component, called as Kubeflow's executor calls it, on small real artifacts that are built once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp import dsl

from components import readme

KINDS = {"Artifact": dsl.Artifact, "Dataset": dsl.Dataset, "HTML": dsl.HTML, "Metrics": dsl.Metrics, "Model": dsl.Model}
SEED = 3
# Numbers in a dict parameter reach a component as floats.
CONFIGS = {
    "feature_import": {"test_share": 0.25},
    "head_training": {"epochs": 2.0, "minimum_steps": 20.0},
    "data_imbalancing": {"source": "digits", "imbalance_factor": 60.0, "seed": 0.0},
    "backbone_training": {"network": "small_cnn", "epochs": 2.0, "batch_size": 64.0, "augmentation": "crop"},
    "feature_extraction": {"views": 1.0},
    "calibrated_sampling": {"n_neighbors": 3.0},
    "classifier_retraining": {"epochs": 2.0},
    "hessian_analysis": {"images_per_class": 1.0, "probes": 2.0, "lanczos_steps": 3.0, "density_runs": 1.0},
    "evaluation": {"many_above": 60.0, "few_below": 12.0},
    "head_curvature": {"images_per_class": 2.0, "probes": 2.0, "lanczos_steps": 3.0},
}
METHODS = ("baseline", "tailcalib")


def _call(step: str, folder: Path, inputs: dict, config: dict | None = None, **parameters) -> dict:
    """Return a component's output artifacts in `folder`, set up as Kubeflow's executor sets them up."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {
        name: KINDS[entry["type"]](name=name, uri=str(folder / name), metadata={})
        for name, entry in readme.read_metadata(step)["outputs"].items()
    }
    if step in ("data_imbalancing", "feature_import"):
        parameters.setdefault("data_digest", "")
    elif step != "evaluation":
        parameters.setdefault("seed", SEED)
    given = CONFIGS.get(
        {"sample_shard": "calibrated_sampling", "sample_merge": "calibrated_sampling"}.get(step, step), {}
    )
    readme.load(step).python_func(**inputs, **outputs, config=given | (config or {}), **parameters)
    return outputs


def _chain(root: Path) -> dict[str, dict]:
    """Return the outputs of every step by label, from a run of the whole method after a start from features."""
    made: dict[str, dict] = {}
    random, labels = np.random.default_rng(0), np.repeat(["a", "b", "c"], [24, 12, 4])
    columns = {f"f{i}": random.normal(size=len(labels)) for i in range(32)}
    pq.write_table(pa.table({**columns, "label": labels}), root / "table.parquet")
    for step in CONFIGS:
        for method in METHODS if step == "classifier_retraining" else [""]:
            label = f"{step}/{method}" if method else step
            extra = {"method": method} if method else {}
            extra |= {"config": {"path": str(root / "table.parquet")}} if step == "feature_import" else {}
            made[label] = _call(step, root / label, _inputs(step, made), **extra)
    return made


def _inputs(step: str, made: dict[str, dict]) -> dict:
    if step == "head_training":
        return {"features": made["feature_import"]["features"]}
    by_name = {name: artifact for outputs in made.values() for name, artifact in outputs.items()}
    classifiers = [made[label]["classifier"] for label in made if label.startswith("classifier_retraining/")]
    return {
        name: classifiers if name == "classifiers" else by_name[name] for name in readme.read_metadata(step)["inputs"]
    }


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory):
    """Keep the user's own runs, servers and caches out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "KFP_", "LONGTAIL_")):
                patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LONGTAIL_HOME", str(tmp_path_factory.mktemp("home")))
        yield patch


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> dict[str, dict]:
    """The whole method once, tracked to SQLite."""
    root = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
        patch.setenv("LONGTAIL_TRACKING", "strict")
        return _chain(root)


@pytest.fixture(scope="session")
def again(chain, tmp_path_factory) -> dict[str, dict]:
    """The whole method once more with the same seed, in another place and without a tracking server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_TRACKING", "off")
        # A checkpoint of the first time would spare the second its work.
        patch.setenv("LONGTAIL_HOME", str(tmp_path_factory.mktemp("home")))
        return _chain(tmp_path_factory.mktemp("again"))


@pytest.fixture
def untracked(monkeypatch):
    monkeypatch.setenv("LONGTAIL_TRACKING", "off")


@pytest.fixture
def call(untracked) -> Callable[..., dict]:
    """Call a component: `call(step, folder, inputs, config, **parameters)`."""
    return _call


@pytest.fixture
def inputs(chain) -> Callable[[str], dict]:
    """Return a step's inputs from the chain."""
    return lambda step: _inputs(step, chain)


@pytest.fixture
def copied(tmp_path) -> Callable[[dsl.Artifact], dsl.Artifact]:
    """Return an artifact that may be spoilt, with the metadata of the original."""

    def copy(artifact):
        folder = Path(shutil.copytree(artifact.path, tmp_path / "copies" / artifact.name))
        return type(artifact)(name=artifact.name, uri=str(folder), metadata=dict(artifact.metadata))

    return copy


@pytest.fixture
def refuses(capsys) -> Callable[..., str]:
    """Check that a call ends with exit code 2, one line on stderr and nothing written; return the line."""

    def check(run: Callable[[], object], folder: Path) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        assert ended.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "tracking could not" not in line]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert not list(folder.iterdir())
        return lines[0]

    return check
