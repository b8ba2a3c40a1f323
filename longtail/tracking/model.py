"""Classifiers as MLflow models that need neither this package nor pickled code to be loaded.

The format is MLflow's `pt2`: the graph that `torch.export` traced, as JSON, beside the raw bytes of the weights.
MLflow loads it with MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false, which it refuses for pickled modules.
"""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError
from longtail.tracking.recording import Run
from longtail.tracking.redaction import redact

if TYPE_CHECKING:
    import numpy as np
    import torch

_EXAMPLES = 2
"""`torch.export` fixes the batch size of an example with one input; more only make the model's files larger."""


def log_classifier(
    run: Run,
    module: "torch.nn.Module",
    example: "np.ndarray",
    class_names: Sequence[str],
    name: str,
    metadata: Mapping[str, Any],
) -> str:
    """Log a classifier of raw images or of feature rows, to be loaded by `mlflow.pyfunc.load_model`.

    Args:
        run: The run that made it.
        module: Maps images (N, H, W, C) uint8, or rows (N, D) float32, to class probabilities (N, classes) float32. It
            is copied to the CPU and put in evaluation mode; the module itself is left as it is.
        example: At least two images (B, H, W, C) uint8 or rows (B, D) float32; the first two are stored with the model.
        class_names: One name for each column of the probabilities.
        name: The model's name in the run.
        metadata: More JSON values to keep in the model's own file, such as the data set's digest.

    Returns:
        The URI (`models:/...`) of the model; empty if tracking failed.

    Raises:
        InputError: If the example has another shape or type.
    """
    kind = (example.ndim, example.dtype.name)
    if kind not in ((4, "uint8"), (2, "float32")) or len(example) < _EXAMPLES:
        raise InputError(
            f"examples are {example.dtype.name} of shape {example.shape}: give at least {_EXAMPLES} uint8 images "
            "(B, H, W, C) or float32 rows (B, D)"
        )
    frozen = copy.deepcopy(module).cpu().eval()
    details = {**redact(metadata), "class_names": list(class_names)}

    def log(client: Any) -> str:
        from mlflow.entities import LoggedModelOutput

        found = client.get_run(run.run_id)
        logged = _logged_model(client, run, name, found.data.params)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                _save(path, frozen, example[:_EXAMPLES], details, logged, run.run_id)
                client.log_model_artifacts(logged.model_id, str(path))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
        if not found.outputs or logged.model_id not in {made.model_id for made in found.outputs.model_outputs}:
            client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return f"models:/{logged.model_id}"

    return run.attempt(f"log the model {name}", log) or ""


def _logged_model(client: Any, run: Run, name: str, params: Mapping[str, str]) -> Any:
    """Return the run's model of that name, which is created unless an earlier attempt has created it."""
    own = f"source_run_id = '{run.run_id}' AND name = '{name}'"
    for model in client.search_logged_models([run.experiment_id], own):
        return model
    return client.create_logged_model(run.experiment_id, name, run.run_id, params=params)


def _save(
    path: Path,
    module: "torch.nn.Module",
    example: "np.ndarray",
    metadata: dict[str, Any],
    logged: Any,
    run_id: str,
) -> None:
    """Write the model's folder; requirements are given, as MLflow would start a process to find them."""
    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    given = TensorSpec(example.dtype, (-1, *example.shape[1:]))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(metadata["class_names"])))
    model = Model(
        artifact_path=logged.artifact_location, run_id=run_id, model_uuid=logged.model_id, model_id=logged.model_id
    )
    mlflow.pytorch.save_model(
        module,
        str(path),
        mlflow_model=model,
        serialization_format="pt2",
        signature=ModelSignature(Schema([given]), Schema([probabilities])),
        input_example=example,
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"],
        metadata=metadata,
    )
    # An exported graph stays on its device, but the loader would look for a GPU first and then refuse.
    model.flavors["python_function"]["config"] = {"device": "cpu"}
    model.save(str(path / "MLmodel"))
