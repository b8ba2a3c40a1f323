"""What is measured on one network: its errors, the curvature of each layer, and how alike the spectra are."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor
from torch.nn import functional as F

from longtail.claims.records import LayerRecord, Snapshot
from longtail.data.dataset import Dataset, Split
from longtail.hessian import Density, LayerReport, Report, analyze
from longtail.hessian.comparison import compare_layers, compare_others
from longtail.hessian.regularization import chosen
from longtail.hessian.subset import balanced_rows
from longtail.networks import ImageClassifier
from longtail.training import predict

_BULK = 0.01  # of the eigenvalue of largest size
_BINS, _SHUFFLES = 100, 50
_BATCH = 100  # images of a twice differentiable graph
_PREDICTED = 512  # images of a forward pass


@dataclass(frozen=True)
class Depth:
    """How finely curvature is measured."""

    images_per_class: int = 10
    probes: int = 8
    lanczos_steps: int = 10
    """Of traces and top eigenvalues along training."""
    spectrum_steps: int = 40
    """Of the spectra that are compared at a few checkpoints."""


class Meter:
    """Measures networks of one data set, all on the same images and with the same random probes.

    So what differs between two checkpoints is the network's doing: errors of sampling are shared.

    Args:
        dataset: Training images, of which some are analysed, and test images.
        depth: How finely.
    """

    def __init__(self, dataset: Dataset, depth: Depth) -> None:
        self.training, self.test, self.depth = dataset.split("train"), dataset.split("test"), depth
        labels = np.asarray(self.training.labels)
        self.parts = torch.from_numpy(balanced_rows(labels, depth.images_per_class)).split(_BATCH)
        self.labels = labels

    def brief(self, classifier: ImageClassifier, epoch: int) -> Snapshot:
        """Return errors, traces and top eigenvalues."""
        return self._snapshot(classifier, epoch, self._analysis(classifier, "hessian"))

    def trace(self, classifier: ImageClassifier, epoch: int) -> Snapshot:
        """Return errors and the whole network's trace, at a fraction of the cost."""
        *_, last = (name for name, _ in classifier.named_parameters())
        found = self._analysis(classifier, "hessian", layers=lambda name, _: name == last, lanczos_steps=1)
        return dataclasses.replace(self._snapshot(classifier, epoch, found), top_eigenvalue=None, layers={})

    def full(self, classifier: ImageClassifier, epoch: int) -> Snapshot:
        """Return the same with the spectra compared: of layers and whole, of Hessian and Gauss-Newton matrix."""
        spectra = {"lanczos_steps": self.depth.spectrum_steps, "densities": None, "exact": True}
        hessian = self._analysis(classifier, "hessian", **spectra)
        newton = self._analysis(classifier, "ggn", **spectra)
        rest = self._analysis(classifier, "residual")
        compared, others = compare_layers(hessian), compare_others(hessian)
        # Lanczos sees at most as many outliers as it takes steps, and the last of them badly.
        countable = self.depth.spectrum_steps >= 2 * len(classifier.spec.class_names)
        layers = {
            name: dataclasses.replace(
                _record(layer),
                outliers=newton.layers[name].outliers if countable or newton.layers[name].exact else None,
                residual_share=_norm(rest.layers[name]) / (_norm(layer) or 1.0),
                bulk_share=bulk_share(_density(layer)),
                distances=dataclasses.asdict(compared[name])
                | ({"others": others[name].wasserstein_scaled} if others else {}),
                control=shuffled_distance(_density(layer), _density(hessian.full)),
            )
            for name, layer in hessian.layers.items()
        }
        return dataclasses.replace(
            self._snapshot(classifier, epoch, hessian),
            layers=layers,
            lowest_eigenvalue=hessian.full.lowest_eigenvalue,
            gauss_newton_top=newton.full.top_eigenvalue,
        )

    def _analysis(self, classifier: ImageClassifier, curvature: str, **settings: Any) -> Report:
        """Return an analysis; without other settings of top eigenvalues and traces alone."""
        device = classifier.mean.device
        batches = [
            (
                classifier.preprocess(torch.from_numpy(self.training.images(part.numpy())).to(device)),
                torch.from_numpy(self.labels[part.numpy()]),
            )
            for part in self.parts
        ]
        brief: dict[str, Any] = {"probes": self.depth.probes, "lanczos_steps": self.depth.lanczos_steps, "densities": 0}
        return analyze(classifier, F.cross_entropy, batches, curvature=curvature, **(brief | settings))

    def _snapshot(self, classifier: ImageClassifier, epoch: int, report: Report) -> Snapshot:
        train_loss, _ = errors(classifier, self.training)
        test_loss, test_error = errors(classifier, self.test)
        return Snapshot(
            epoch=epoch,
            train_loss=train_loss,
            test_error=test_error,
            test_loss=test_loss,
            trace=report.full.trace,
            top_eigenvalue=report.full.top_eigenvalue,
            layers={name: _record(layer) for name, layer in report.layers.items()},
        )


def errors(classifier: ImageClassifier, split: Split) -> tuple[float, float]:
    """Return mean cross-entropy, and the share of wrong answers in per cent; both of clean images."""
    logits = torch.from_numpy(predict(classifier, split, _PREDICTED))
    labels = torch.from_numpy(np.asarray(split.labels))
    wrong: Tensor = logits.argmax(1) != labels
    return float(F.cross_entropy(logits, labels)), 100 * float(wrong.double().mean())


def middle_layers(classifier: ImageClassifier, layers: list[str]) -> tuple[str, ...]:
    """Return which of the layers the penalty's own choice of the middle takes."""
    middle = chosen(classifier, "middle")
    return tuple(name for name in layers if name in middle)


def bulk_share(density: Density) -> float:
    """Return the share of the eigenvalues whose size is at most a hundredth of the largest."""
    sizes = np.abs(density.nodes)
    return float(density.weights[sizes <= _BULK * sizes.max()].sum())


def shuffled_distance(layer: Density, full: Density) -> float:
    """Return a layer's median distance to the whole network's spectrum with its shares at random places.

    The spectrum, scaled by its largest size, is put into a hundred equal bins between its lowest and highest
    eigenvalue, whose shares are then shuffled: what heights alone, without their places, would give.
    """
    scaled = [spectrum.nodes / (np.abs(spectrum.nodes).max() or 1.0) for spectrum in (layer, full)]
    shares, edges = np.histogram(scaled[1], _BINS, weights=full.weights)
    centres, generator = (edges[:-1] + edges[1:]) / 2, np.random.default_rng(0)
    found = [
        wasserstein_distance(scaled[0], centres, layer.weights, generator.permutation(shares)) for _ in range(_SHUFFLES)
    ]
    return float(np.median(found))


def _record(layer: LayerReport) -> LayerRecord:
    return LayerRecord(parameters=layer.parameters, trace=layer.trace, top_eigenvalue=layer.top_eigenvalue)


def _density(layer: LayerReport) -> Density:
    """Return the spectral density, which was asked for."""
    assert layer.density is not None
    return layer.density


def _norm(layer: LayerReport) -> float:
    """Return the largest size of an eigenvalue."""
    return max(abs(layer.top_eigenvalue), abs(layer.lowest_eigenvalue))
