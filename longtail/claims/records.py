"""What is measured on a network while it trains, kept as one JSON file a training run."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail.artifacts import read_json, write_json
from longtail.errors import InputError


@dataclass(frozen=True)
class LayerRecord:
    """Curvature of one layer's weight."""

    parameters: int
    trace: float
    top_eigenvalue: float
    outliers: int | None = None  # of the Gauss-Newton block, like the rest below measured at a few checkpoints only
    residual_share: float | None = None  # spectral norm of Hessian less Gauss-Newton block, over the Hessian's
    bulk_share: float | None = None  # of the eigenvalues within 1 % of the top one from zero
    distances: Mapping[str, float] = dataclasses.field(default_factory=dict)  # to the whole network's spectrum
    control: float | None = None  # median true distance of that spectrum with its eigenvalues' shares shuffled


@dataclass(frozen=True)
class Snapshot:
    """A network after an epoch."""

    epoch: int  # 0 before the first
    train_loss: float  # cross-entropy over all training images, in evaluation mode
    test_error: float  # per cent
    test_loss: float
    trace: float  # of the whole network's Hessian on the fixed subset, like all curvature here
    top_eigenvalue: float | None = None  # None where the trace alone was asked for
    layers: Mapping[str, LayerRecord] = dataclasses.field(default_factory=dict)
    lowest_eigenvalue: float | None = None
    gauss_newton_top: float | None = None

    @property
    def deep(self) -> bool:
        """Whether spectra were compared at this checkpoint."""
        return self.gauss_newton_top is not None


@dataclass(frozen=True)
class Run:
    """A network that was trained, with what was measured on the way."""

    network: str
    arm: str
    seed: int
    classes: int
    snapshots: tuple[Snapshot, ...]  # in order of their epochs
    strength: float = 0.0  # of the arm's penalty
    seconds_per_step: float | None = None
    validation_error: float | None = None  # per cent, at the end
    validation_loss: float | None = None
    middle: tuple[str, ...] = ()  # layers between the first and the last quarter of the parameter tensors

    @property
    def last(self) -> Snapshot:
        """The trained network."""
        return self.snapshots[-1]

    @property
    def compared(self) -> list[Snapshot]:
        """The checkpoints at which spectra were compared."""
        return [snapshot for snapshot in self.snapshots if snapshot.deep]


def to_json(run: Run) -> dict[str, Any]:
    """Return a run as plain JSON values."""
    return dataclasses.asdict(run)


def from_json(values: Mapping[str, Any]) -> Run:
    """Return the run that `to_json` made values of.

    Raises:
        TypeError: If they are not of this release.
    """
    return Run(**{
        **values,
        "snapshots": tuple(_snapshot(entry) for entry in values["snapshots"]),
        "middle": tuple(values["middle"]),
    })


def kept(path: Path, compute: Callable[[], Run]) -> Run:
    """Return the run in a file, which is computed and written, whole or not at all, if it is not there.

    Args:
        path: A JSON file; its name stands for all that was asked.
        compute: Trains and measures.

    Raises:
        InputError: If the file is damaged.
    """
    if path.is_file():
        try:
            return from_json(read_json(path))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not a run of this release ({error}): delete it to measure it again") from None
    run = compute()
    write_json(path, to_json(run))
    return run


def _snapshot(values: Mapping[str, Any]) -> Snapshot:
    layers = {name: LayerRecord(**layer) for name, layer in values["layers"].items()}
    return Snapshot(**{**values, "layers": layers})
