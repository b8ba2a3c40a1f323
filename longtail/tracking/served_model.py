"""The code of every logged model: what MLflow loads and serves. A copy is in each model; it imports nothing of ours.

A model takes `images`, (N, H, W, C) of the size it was trained on, in one of two scales that their type tells apart:
whole numbers are bytes in [0, 255], other numbers lie in [0, 1]. So it is in JSON: 255 is a byte, 1.0 is white.
One that was trained on features takes `rows`, (N, D). Wrong input is refused in one line, over HTTP with status 400.
"""

import json
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel


class ServedModel(PythonModel):  # type: ignore[misc]
    """Class and probability of each image or row, and on request all probabilities and the features.

    Attributes:
        kind: What the model takes, `images` or `rows`.
        shape: Of one of them: (H, W, C) or (D,).
        class_names: (C,) names.
        rows_at_once: What the network gets at once of a larger batch, so that memory is bounded.
    """

    kind: str
    shape: tuple[int, ...]
    class_names: Any
    rows_at_once: int

    def load_context(self, context: Any) -> None:
        """Read the graph, and what its inputs and outputs are, from the model's folder."""
        described = json.loads(Path(context.artifacts["classes"]).read_text(encoding="utf-8"))
        self.kind, self.shape = described["input"]["name"], tuple(described["input"]["shape"][1:])
        self.class_names = np.array(described["class_names"], dtype=object)
        self.rows_at_once = described["rows_at_once"]
        self._graph = torch.export.load(context.artifacts["graph"]).module()

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one row for each image or row.

        Args:
            context: Not used.
            model_input: An array; MLflow passes it on in a dict, under the name of the input.
            params: `probabilities` and `features`, each of which adds a column of arrays if it is true.

        Returns:
            The columns `class` and `probability`, and those asked for.

        Raises:
            MlflowException: If the input has another shape, type or scale, or is not finite.
        """
        asked = params or {}
        values = self._check(model_input.get(self.kind) if isinstance(model_input, dict) else model_input)
        names = [name for name in ("probabilities", "features") if asked.get(name)]
        found: dict[str, list[Any]] = {name: [] for name in ("class", "probability", *names)}
        for start in range(0, len(values), self.rows_at_once):
            with torch.inference_mode():
                probabilities, features = self._graph(self._scaled(values[start : start + self.rows_at_once]))
                best, classes = probabilities.max(dim=1)
            found["class"].extend(self.class_names[classes.numpy()])
            found["probability"].extend(best.numpy())
            for name, value in (("probabilities", probabilities), ("features", features)):
                if name in found:
                    found[name].extend(value.numpy())
        frame = pd.DataFrame({name: found[name] for name in found if name != "probability"}, dtype=object)
        frame.insert(1, "probability", np.array(found["probability"], dtype=np.float32))
        return frame

    def _check(self, given: Any) -> np.ndarray:
        """Return the input as an array of the model's shape and one of its types."""
        wanted = f"{self.kind} of shape (N, {', '.join(map(str, self.shape))})"
        array = np.asarray(given if isinstance(given, (np.ndarray, list)) else None)
        if array.dtype == object:  # from JSON, which MLflow leaves as it is
            try:
                array = np.array(array.tolist())
            except ValueError:
                raise _refused(f"{wanted} are wanted: not all of these have the same size") from None
        if array.dtype.kind not in "uif":
            raise _refused(f"{wanted} are wanted, as numbers: these are {array.dtype}")
        if array.ndim != 1 + len(self.shape) or array.shape[1:] != self.shape:
            raise _refused(f"{wanted} are wanted: these have shape {array.shape}")
        if not len(array):
            return array
        low, high = array.min(), array.max()
        if not np.isfinite(low) or not np.isfinite(high):
            raise _refused(f"{self.kind} are finite: {np.count_nonzero(~np.isfinite(array))} numbers of these are not")
        if self.kind == "images":
            most = 1 if array.dtype.kind == "f" else 255
            if low < 0 or high > most:
                raise _refused(
                    f"images of type {array.dtype} are in [0, {most}], these in [{low:.6g}, {high:.6g}]: "
                    "give whole numbers in [0, 255] or other numbers in [0, 1]"
                )
        return array

    def _scaled(self, values: np.ndarray) -> torch.Tensor:
        """Return rows as they are, images with white as 255, as float32."""
        scaled = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        return scaled * 255 if self.kind == "images" and values.dtype.kind == "f" else scaled


def _refused(reason: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(reason)


mlflow.models.set_model(ServedModel())
