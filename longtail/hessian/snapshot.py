"""Curvature at one moment of a training, in a few plain numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from longtail.hessian.report import Report


@dataclass(frozen=True)
class Snapshot:
    """Traces and top eigenvalues after an epoch, on images that are the same at every moment."""

    epoch: int  # 0 before training
    loss: float  # mean over the images
    trace: float  # of the whole network
    top_eigenvalue: float
    layer_traces: dict[str, float]  # by name, first layer first
    layer_top_eigenvalues: dict[str, float]

    @classmethod
    def of(cls, epoch: int, report: Report) -> "Snapshot":
        """Return the numbers of a report."""
        return cls(
            epoch,
            report.loss,
            report.full.trace,
            report.full.top_eigenvalue,
            {name: layer.trace for name, layer in report.layers.items()},
            {name: layer.top_eigenvalue for name, layer in report.layers.items()},
        )

    def metrics(self) -> dict[str, float]:
        """Return the numbers by the names under which they are tracked."""
        whole = {
            "curvature/loss": self.loss,
            "curvature/trace": self.trace,
            "curvature/top_eigenvalue": self.top_eigenvalue,
        }
        traces = {f"curvature/trace/{name}": value for name, value in self.layer_traces.items()}
        tops = {f"curvature/top_eigenvalue/{name}": value for name, value in self.layer_top_eigenvalues.items()}
        return whole | traces | tops

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `Snapshot(**values)` is equal."""
        return asdict(self)
