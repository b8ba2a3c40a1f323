"""What is trained for the claims: one small network on few digits, in four ways, at equal budgets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail.artifacts import sha256_json
from longtail.config import BackboneConfig, DataConfig, parse, to_dict
from longtail.data.dataset import Dataset, build_dataset
from longtail.networks import ImageClassifier, NetworkSpec, start

SGD, DECAY, ALL, MIDDLE = "SGD", "weight decay", "penalty, all layers", "penalty, middle layers"
STRENGTHS = {SGD: (0.0,), DECAY: (3e-4, 1e-3, 3e-3), ALL: (3e-4, 1e-3, 3e-3), MIDDLE: (3e-4, 1e-3, 3e-3)}
"""Of each way of training, as many as of any other: L2 factors, and γ of the trace penalty. The one with the least
validation error is taken, by training runs whose seeds are no others' and which the test images play no part in."""
TUNING_SEEDS = (101, 102)
_IMAGES = 60  # of a class, to train on and as many to validate: few, so that there is something to generalise
_STEPS = 2  # from one with the penalty to the next
_RAMP = 0.25  # share of the steps in which γ rises from zero: from the start it keeps the loss at its plateau
_SPECTRA = (0.2, 0.35, 0.6, 1.0)  # shares of the epochs after which spectra are compared
_ALL, _EVERY = 8, 4  # so many first epochs are all measured, then every fourth one


@dataclass(frozen=True)
class Experiment:
    """How networks are trained: SGD with momentum 0.9 and a constant rate, as the paper's own networks.

    Batch and rate are of this size of data, the same for all; no augmentation, no schedule, no early stop.
    """

    network: str = "lenet"
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 0.02

    def recipe(self, arm: str, strength: float) -> BackboneConfig:
        """Return the settings of one way of training.

        Args:
            arm: `SGD`, `DECAY`, `ALL` or `MIDDLE`.
            strength: Factor of the L2 penalty, or γ of the trace penalty.
        """
        values: dict[str, Any] = {
            "network": self.network,
            "head": "linear",
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "schedule": "constant",
            "momentum": 0.9,
            "weight_decay": strength if arm == DECAY else 0.0,
            "augmentation": "none",
            "precision": "float32",
        }
        if arm in (ALL, MIDDLE):
            layers = "all" if arm == ALL else "middle"
            penalty = {"weight": strength, "layers": [layers], "every": _STEPS, "share": 1.0, "ramp": _RAMP}
            values["trace_penalty"] = penalty
        return parse(BackboneConfig, values, "backbone")

    @property
    def measured_epochs(self) -> list[int]:
        """Epochs after which errors, traces and top eigenvalues are measured; 0 is before the first."""
        chosen = {epoch for epoch in range(self.epochs + 1) if epoch <= _ALL or epoch % _EVERY == 0}
        return sorted(chosen | set(self.compared_epochs) | {self.epochs})

    @property
    def compared_epochs(self) -> list[int]:
        """Epochs after which spectra are compared too."""
        return sorted({max(1, round(share * self.epochs)) for share in _SPECTRA})

    @property
    def title(self) -> str:
        """Return what networks are called in the results."""
        return f"{self.network} on digits, {self.epochs} epochs"


def digits(folder: Path) -> Dataset:
    """Return the images of the experiment, built in a folder unless they are there.

    Raises:
        InputError: If what is there is damaged.
    """
    config = DataConfig(
        source="digits",
        imbalance_factor=1.0,
        largest_class=_IMAGES,
        validation="unchosen",
        validation_per_class=_IMAGES,
    )
    path = folder / f"digits-{sha256_json(to_dict(config))[:12]}"
    if not path.is_dir():
        build_dataset(config, path)
    return Dataset.open(path)


def untrained(experiment: Experiment, dataset: Dataset, seed: int) -> ImageClassifier:
    """Return a network with the weights that a seed draws, the same whichever way it is trained."""
    spec = NetworkSpec(
        network=experiment.network,
        head="linear",
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
    )
    return start(spec, "", seed)
