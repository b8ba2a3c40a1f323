"""Classifiers as MLflow models that need neither this package nor pickled code to be loaded and served.

A model is a folder with MLflow's description of it, the file `served_model.py` and four artifacts: the graph that
`torch.export` traced, the names of the classes, the network as our own steps write it, and statistics of the training
features. MLflow loads it with MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false, which it refuses for pickled modules.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.artifacts import write_json
from longtail.errors import InputError
from longtail.tracking.recording import Run
from longtail.tracking.redaction import redact

if TYPE_CHECKING:
    import numpy as np

    from longtail.networks import ImageClassifier
    from longtail.serving import ReferenceStatistics, ServedClassifier

CODE = Path(__file__).with_name("served_model.py")
DESCRIPTION = "MLmodel"


def log_classifier(
    run: Run,
    classifier: "ImageClassifier",
    example: "np.ndarray",
    reference: "ReferenceStatistics",
    metadata: Mapping[str, Any],
) -> str:
    """Log a classifier of raw images or of feature rows, to be loaded by `mlflow.pyfunc.load_model`.

    Args:
        run: The run that made it.
        classifier: What to log; it is left as it is.
        example: Images (B, H, W, C) uint8 or rows (B, D) float32; two are enough.
        reference: Statistics of its training features.
        metadata: JSON values to keep with the model: its `method`, which names it, and digests of what it was made of.

    Returns:
        The URI (`models:/...`) of the model; empty if tracking failed.

    Raises:
        InputError: If the example is not what the classifier reads.
    """
    name = str(metadata["method"])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"

        def log(client: Any) -> str:
            if not (folder / DESCRIPTION).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                write_model(folder, classifier, example, reference, metadata)
            return publish(client, run.run_id, run.experiment_id, folder, name)

        return run.attempt(f"log the model {name}", log) or ""


def write_model(
    folder: Path,
    classifier: "ImageClassifier",
    example: "np.ndarray",
    reference: "ReferenceStatistics",
    metadata: Mapping[str, Any],
) -> None:
    """Write a model that belongs to no run yet.

    Args:
        folder: Does not exist yet.
        classifier: As for `log_classifier`, like the others.
        example: Stored with the model.
        reference: Stored with the model.
        metadata: Stored with the model and with its network.

    Raises:
        InputError: If the example is not what the classifier reads.
    """
    from longtail.networks import save
    from longtail.serving import ServedClassifier, export_graph

    served = ServedClassifier(classifier)
    described, metadata = _described(served, example), redact(metadata)
    _save(folder, example, {**metadata, **described})
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    export_graph(classifier, artifacts / "graph.pt2")
    write_json(artifacts / "classes.json", described)
    save(classifier, artifacts / "network", dict(metadata))
    reference.save(artifacts / "reference.safetensors")
    _complete(folder)


def publish(client: Any, run_id: str, experiment_id: str, folder: Path, name: str) -> str:
    """Give a model's folder to a run: carried out twice, it leaves what once leaves.

    Args:
        client: An `MlflowClient`.
        run_id: The run that made the model.
        experiment_id: Its experiment.
        folder: What `write_model` wrote; the ids are written into it.
        name: The model's name in the run.

    Returns:
        The URI (`models:/...`) of the model.
    """
    from mlflow.entities import LoggedModelOutput

    found = client.get_run(run_id)
    logged = _logged_model(client, run_id, experiment_id, name, found.data.params)
    uri = f"models:/{logged.model_id}"
    outputs = found.outputs.model_outputs if found.outputs else []
    if str(logged.status) != "READY":
        try:
            _identify(folder, logged, run_id)
            client.log_model_artifacts(logged.model_id, str(folder))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
    if logged.model_id not in {made.model_id for made in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return uri


def _described(served: "ServedClassifier", example: "np.ndarray") -> dict[str, Any]:
    """Return what goes in and comes out, after checking an example of it."""
    shape = served.input_shape
    name, kind = ("rows", "float32") if served.reads_rows else ("images", "uint8")
    if example.dtype.name != kind or example.shape[1:] != shape or not len(example):
        raise InputError(
            f"examples are {example.dtype.name} of shape {example.shape}: give {kind} {name} "
            f"({', '.join(map(str, ('N', *shape)))})"
        )
    types = [kind, "float32", "float64"] if name == "images" else [kind, "float64"]
    size = {"feature_size": shape[0]} if name == "rows" else {"image_shape": list(shape)}
    return {
        "class_names": list(served.classifier.spec.class_names),
        "input": {"name": name, "shape": [-1, *shape], "types": types},
        "rows_at_once": served.rows_at_once,
        **size,
    }


def _logged_model(client: Any, run_id: str, experiment_id: str, name: str, params: Mapping[str, str]) -> Any:
    """Return the run's model of that name, which is created unless an earlier attempt has created it."""
    own = f"source_run_id = '{run_id}' AND name = '{name}'"
    for model in client.search_logged_models([experiment_id], own):
        return model
    return client.create_logged_model(experiment_id, name, run_id, params=params)


def _save(folder: Path, example: "np.ndarray", metadata: dict[str, Any]) -> None:
    """Write all of a model but its artifacts; requirements are given, as MLflow would start a process to find them."""
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd
    import torch

    versions = {"numpy": np.__version__, "pandas": pd.__version__, "torch": torch.__version__.partition("+")[0]}
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(CODE),
        signature=_signature(metadata["input"]["name"]),
        input_example=example,
        pip_requirements=[f"mlflow=={mlflow.__version__}", *(f"{name}=={value}" for name, value in versions.items())],
        metadata=metadata,
    )


def _complete(folder: Path) -> None:
    """Name the artifacts in a model's description."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = CODE.name  # not where it was on this machine
    paths = sorted(path.relative_to(folder).as_posix() for path in (folder / "artifacts").iterdir())
    flavor["artifacts"] = {Path(path).stem: {"path": path, "uri": path} for path in paths}
    model.model_size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    model.save(str(folder / DESCRIPTION))


def _signature(name: str) -> Any:
    """Return the signature: MLflow passes an input of type `object` on as it is, any other type is the only one.

    The shape and types that the model itself checks are in its metadata.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import Array

    lists = ("probabilities", "features")
    outputs = [ColSpec(DataType.string, "class"), ColSpec(DataType.float, "probability")]
    outputs += [ColSpec(Array(DataType.float), column, required=False) for column in lists]
    return ModelSignature(
        Schema([TensorSpec(np.dtype(object), (-1,), name)]),
        Schema(outputs),
        ParamSchema([ParamSpec(column, DataType.boolean, False) for column in lists]),
    )


def _identify(folder: Path, logged: Any, run_id: str) -> None:
    """Write a model's ids into its description."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    model.artifact_path, model.run_id = logged.artifact_location, run_id
    model.model_uuid = model.model_id = logged.model_id
    written = folder.with_name(f".{folder.name}.{DESCRIPTION}")
    model.save(str(written))
    os.replace(written, folder / DESCRIPTION)
