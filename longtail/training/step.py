"""What one step of training does with a minibatch: loss, penalty, gradient, update."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from longtail.config import BackboneConfig
from longtail.networks import ImageClassifier
from longtail.networks.heads import logit_scale
from longtail.training import distributed
from longtail.training.distillation import Distillation
from longtail.training.losses import ClassLoss
from longtail.training.mixing import mix
from longtail.training.optimisation import make_optimizer, set_mode, set_rates
from longtail.training.precision import autocast
from longtail.training.streams import PROBES, generator
from longtail.training.trace_penalty import StepPenalty, differentiable


@dataclass(frozen=True)
class Place:
    """Where in the training a step is."""

    epoch: int  # from 0
    step: int  # of the epoch, from 0
    steps: int  # of an epoch
    epochs: int

    @property
    def progress(self) -> float:
        """Share of all steps that are done, in [0, 1)."""
        return (self.epoch + self.step / self.steps) / self.epochs


class _Both(nn.Module):
    """A classifier that also returns features, through one `forward`, which data-parallel training needs."""

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.classifier.features(x)
        return features, self.classifier.classify(features)


class Step:
    """A network with its optimiser, loss and penalty; a call trains it on one minibatch.

    Args:
        classifier: What is trained, on its device.
        config: The recipe.
        counts: (C,) training images of each class.
        seed: Of the penalty's probes.
        distillation: Of a teacher, if there is one.
    """

    def __init__(
        self,
        classifier: ImageClassifier,
        config: BackboneConfig,
        counts: Any,
        seed: int,
        distillation: Distillation | None = None,
    ) -> None:
        self.classifier, self.config, self.seed, self.distillation = classifier, config, seed, distillation
        self.device = classifier.mean.device
        self.optimizer = make_optimizer(classifier, config)
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.model = distributed.wrap(_Both(classifier))
        self.loss = ClassLoss(config.loss, counts, self.device)
        self.penalty = StepPenalty(classifier, config.trace_penalty) if config.trace_penalty.weight else None

    def __call__(
        self, images: Tensor, labels: Tensor, draws: torch.Generator, place: Place, precision: str
    ) -> tuple[Tensor, float]:
        """Return the sums over the images of loss and right answers, (2,), and the learning rate.

        A step on which no penalty is due is bit for bit that of a training without penalty.

        Args:
            images: (N, H, W, C) uint8, augmented.
            labels: (N,) int64.
            draws: Of the mixing.
            place: Where in the training the step is.
            precision: `float32` or `bfloat16`; a graph that the penalty shares is in float32.
        """
        config, penalty, progress = self.config, self.penalty, place.progress
        weight = penalty.weight(place.step, progress) if penalty is not None else 0.0
        shared = penalty is not None and weight > 0 and penalty.shares_graph
        rate = set_rates(self.optimizer, config, progress, (place.epoch + 1) / place.epochs)
        set_mode(self.classifier, config)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast("float32" if shared else precision, self.device), differentiable() if shared else nullcontext():
            x, partners, share = mix(self.classifier.preprocess(images), config.mixing, config.mixing_alpha, draws)
            features, logits = self.model(x)
            targets = [(share, labels), (1 - share, labels[partners.to(self.device)])][: 1 if share == 1 else 2]
            outputs, class_loss = self._loss(logits.float(), targets, progress)
            loss = class_loss
            if self.distillation is not None:
                loss = self.distillation(loss, features, x)
        if penalty is None or not weight:
            loss.backward()
        else:
            probes = generator(self.seed, PROBES, place.epoch, place.step, distributed.rank())
            trace = (
                penalty.estimate(outputs, class_loss, probes)
                if shared
                else penalty.of_share(x, lambda some, n: self._first(some, targets, progress, n), probes)
            )
            penalty.backward(loss, trace, weight, self.trained)
        self.optimizer.step()
        return torch.stack([loss.detach() * len(labels), (logits.argmax(1) == labels).sum()]), rate

    def _loss(self, logits: Tensor, targets: list[tuple[float, Tensor]], progress: float) -> tuple[Tensor, Tensor]:
        """Return what the classification loss is a function of, and the loss, shared between mixed images' labels."""
        return self.loss.mixed(logits, targets, logit_scale(self.classifier.head), progress)

    def _first(
        self, logits: Tensor, targets: list[tuple[float, Tensor]], progress: float, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return the same of the first images alone."""
        return self._loss(logits, [(share, labels[:count]) for share, labels in targets], progress)
