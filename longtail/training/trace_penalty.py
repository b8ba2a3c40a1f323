"""When and with what factor a training step penalises the trace of the loss's curvature, and what came of it."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from longtail.config import TracePenaltyConfig
from longtail.hessian.batch_norm import ComposedBatchNorm
from longtail.hessian.isolation import isolated
from longtail.hessian.regularization import TracePenalty
from longtail.networks import ImageClassifier
from longtail.training import distributed

Graph = tuple[Tensor, Tensor]  # outputs, and the loss as a function of them


class StepPenalty:
    """The trace penalty of a training run.

    Args:
        classifier: What is trained.
        config: The penalty; its weight is not 0.

    Attributes:
        applied: How many steps of this epoch had the penalty.
        skipped: How many went without it because it, or its gradient, was not finite.
        total: Sum of the estimates of the steps that had it.
    """

    def __init__(self, classifier: ImageClassifier, config: TracePenaltyConfig) -> None:
        layers: str | Sequence[str] = config.layers[0] if len(config.layers) == 1 else config.layers
        self.classifier, self.config = classifier, config
        self.estimate = TracePenalty(classifier, layers=layers, form=config.form, probes=config.probes, law=config.law)
        self.applied, self.skipped, self.total = 0, 0, 0.0

    def weight(self, step: int, progress: float) -> float:
        """Return the factor of a step: 0 if none is due.

        Args:
            step: Of the epoch, from 0.
            progress: Share of all steps that are done, in [0, 1).
        """
        config = self.config
        if step % config.every or progress < config.start:
            return 0.0
        grown = 1.0 if progress >= config.start + config.ramp else (progress - config.start) / config.ramp
        return config.weight * grown

    @property
    def shares_graph(self) -> bool:
        """Whether the trace is that of the training loss's own graph, which then needs `differentiable`."""
        return self.config.batch_norm == "train"

    def of_share(self, x: Tensor, loss: Callable[[Tensor, int], Graph], generator: torch.Generator) -> Tensor:
        """Return the trace on a share of the images, which come in random order, in a forward pass of its own.

        Batch statistics are those of the share, unless the network is to be as it is evaluated. The averages that
        evaluation takes are left alone.

        Args:
            x: (N, C, H, W) normalised.
            loss: Takes the logits of the first images and how many they are.
            generator: Of the probes.
        """
        count = max(1, round(self.config.share * len(x)))
        modes = {module: module.training for module in self.classifier.modules()}
        with isolated(self.classifier), ComposedBatchNorm(move_averages=False):
            for module, training in modes.items() if self.config.batch_norm == "share" else ():
                module.training = training
            outputs, value = loss(self.classifier(x[:count].detach().float()), count)
            return self.estimate(outputs, value, generator)

    def backward(self, loss: Tensor, trace: Tensor, weight: float, parameters: Sequence[Tensor]) -> None:
        """Set the gradient of loss + weight · trace, or that of the loss alone if the other is not finite."""
        value = float(distributed.total(trace.detach().clone())) / distributed.world_size()
        if not math.isfinite(value):
            self.skipped += 1
            loss.backward()
            return
        (loss + weight * trace).backward(retain_graph=True)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.largest_gradient or math.inf)
        if bool(torch.isfinite(norm)):
            self.applied, self.total = self.applied + 1, self.total + value
            return
        self.skipped += 1
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:  # data-parallel training averages what `backward` sets, but not this
                gradient = distributed.total(gradient.contiguous()) / distributed.world_size()
            parameter.grad = gradient

    def metrics(self) -> dict[str, float]:
        """Return the epoch's mean trace and how often the penalty was skipped, and start the next epoch."""
        mean = {"train/trace_penalty": self.total / self.applied} if self.applied else {}
        found = {**mean, "train/penalty_skipped": float(self.skipped)}
        self.applied, self.skipped, self.total = 0, 0, 0.0
        return found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {
            "form": self.estimate.form,
            "applied": self.applied,
            "skipped": self.skipped,
            "total": self.total,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.estimate.form = state["form"]
        self.applied, self.skipped, self.total = state["applied"], state["skipped"], state["total"]


@contextmanager
def differentiable() -> Generator[None]:
    """Run a forward pass such that its graph can be differentiated as often as the penalty does."""
    with sdpa_kernel(SDPBackend.MATH), ComposedBatchNorm():
        yield
