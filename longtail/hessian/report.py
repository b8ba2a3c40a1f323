"""What an analysis found: plain numbers and arrays, saved without pickle."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import new_artifact, open_artifact, read_json, write_json
from longtail.errors import InputError

SCHEMA = "longtail.hessian"
SCHEMA_VERSION = 3
_SCALARS = (
    "parameters",
    "trace",
    "trace_stderr",
    "trace_sampling_stderr",
    "top_eigenvalue",
    "top_residual",
    "lowest_eigenvalue",
    "lowest_residual",
    "effective_rank",
    "outliers",
    "first_order",
    "exact",
    "lanczos_steps",
)
_ARRAYS = ("nodes", "weights", "grid", "curve")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Density:
    """Distribution of a matrix's eigenvalues: a quadrature, and a curve made from it."""

    nodes: NDArray[np.float64]  # (k,) ascending
    weights: NDArray[np.float64]  # (k,) share of the eigenvalues at each node, sum 1
    grid: NDArray[np.float64]  # (G,) evenly spaced eigenvalues
    curve: NDArray[np.float64]  # (G,) density on the grid, integrates to 1


@dataclass(frozen=True)
class LayerReport:
    """Curvature of the mean loss in one block of parameters: a layer's weight, or the whole network."""

    parameters: int  # rows of the block's Hessian
    trace: float
    trace_stderr: float  # of the random probes, for these samples
    trace_sampling_stderr: float | None  # of the probes and the choice of the samples; None from 16 samples or fewer
    top_eigenvalue: float
    top_residual: float  # an eigenvalue lies within this distance of `top_eigenvalue`
    lowest_eigenvalue: float
    lowest_residual: float
    effective_rank: float | None  # (Σλ)²/Σλ² by the density; None without one
    outliers: int  # top eigenvalues that stand apart, see `longtail.hessian.scalars.outlier_count`
    first_order: bool  # the trace took first derivatives only, see `longtail.hessian.first_order`
    exact: bool  # the eigenvalues are, see `longtail.hessian.gram`; otherwise Lanczos found the extreme ones
    lanczos_steps: int  # products of the longest run; fewer than asked if the block's rank is smaller
    density: Density | None  # None if it was not asked for


@dataclass(frozen=True)
class Report:
    """Curvature of the mean loss over a sample, for the whole network and layer by layer, first layer first."""

    full: LayerReport
    layers: dict[str, LayerReport]
    samples: int
    loss: float  # mean over the samples: compare traces at equal loss only
    cost: float  # floor by operation count, in forward and backward passes over all samples
    seed: int
    curvature: str  # `hessian`, `ggn` or `residual`

    def save(self, path: Path) -> None:
        """Write the report as a folder (JSON and npz), whole or not at all.

        Args:
            path: The folder; an earlier report there is replaced.
        """
        names = list(self.layers)
        blocks = [self.full, *self.layers.values()]
        content = {
            "samples": self.samples,
            "loss": self.loss,
            "cost": self.cost,
            "seed": self.seed,
            "curvature": self.curvature,
            "full": _scalars(self.full),
            "layers": [{"name": name, **_scalars(layer)} for name, layer in self.layers.items()],
        }
        arrays = {
            f"{i}.{name}": getattr(block.density, name)
            for i, block in enumerate(blocks)
            for name in _ARRAYS
            if block.density is not None
        }
        with new_artifact(path, SCHEMA, SCHEMA_VERSION, {"layer_count": len(names)}) as folder:
            write_json(folder / "report.json", content)
            np.savez_compressed(folder / "densities.npz", allow_pickle=False, **arrays)
        _log.info("saved the report of %d layers", len(names))

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a report that `save` wrote.

        Args:
            path: The folder.

        Returns:
            The report, equal to the one saved.

        Raises:
            InputError: If the folder is not a whole report, or its content was changed.
        """
        open_artifact(path, SCHEMA, SCHEMA_VERSION)
        content = read_json(path / "report.json")
        try:
            with np.load(path / "densities.npz", allow_pickle=False) as arrays:
                rows = [content["full"], *content["layers"]]
                present = {int(key.partition(".")[0]) for key in arrays}
                blocks = [
                    _layer(row, {name: arrays[f"{i}.{name}"] for name in _ARRAYS} if i in present else None)
                    for i, row in enumerate(rows)
                ]
            names = [row["name"] for row in content["layers"]]
            rest = {name: content[name] for name in ("samples", "loss", "cost", "seed", "curvature")}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path} lacks {error}: it is not a report of this release; run the analysis again"
            ) from None
        return cls(full=blocks[0], layers=dict(zip(names, blocks[1:], strict=True)), **rest)


def _scalars(layer: LayerReport) -> dict[str, Any]:
    """Return the numbers of a block as JSON values."""
    return {name: getattr(layer, name) for name in _SCALARS}


def _layer(row: dict[str, Any], arrays: dict[str, NDArray[np.float64]] | None) -> LayerReport:
    """Return a block's report, from its JSON row and the arrays of its density."""
    density = None if arrays is None else Density(**arrays)
    return LayerReport(**{name: row[name] for name in _SCALARS}, density=density)
