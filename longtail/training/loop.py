"""The training loop: whole data set in memory, batched augmentation, resumable at any step."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from longtail.config import BackboneConfig
from longtail.data.dataset import Split
from longtail.locks import exclusive
from longtail.networks import ImageClassifier
from longtail.storage.mirror import Mirror
from longtail.training import distributed
from longtail.training.augmentation import apply_policy, cut_out
from longtail.training.batches import Images
from longtail.training.checkpoint import furthest_checkpoint, progress, save_checkpoint
from longtail.training.class_aware import class_aware_order
from longtail.training.distillation import Distillation
from longtail.training.precision import resolve
from longtail.training.prediction import predict
from longtail.training.step import Place, Step
from longtail.training.streams import AUGMENTATION, ORDER, generator
from longtail.training.termination import SIGTERM_EXIT, sigterm_flag

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
OnResume = Callable[[str], None]


class Observer(Protocol):
    """What looks at the network between epochs, such as `longtail.training.observation.CurvatureObserver`."""

    def observe(self, classifier: ImageClassifier, epoch: int, *, last: bool) -> dict[str, float]:
        """Return metrics of the network after an epoch, which is left as found."""

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint must hold."""

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Go on from what `state` returned."""


@dataclass
class _State:
    """Where training is; everything but the tensors."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of loss and of correct answers in this epoch
    seconds: float = 0.0
    rate: float = 0.0
    best_accuracy: float = -1.0
    precision: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    penalty: dict[str, Any] = field(default_factory=dict)
    curvature: list[dict[str, Any]] = field(default_factory=list)


def train(
    classifier: ImageClassifier,
    training: Split,
    validation: Split | None,
    config: BackboneConfig,
    *,
    seed: int,
    teacher: ImageClassifier | None = None,
    checkpoint: Path | None = None,
    mirror: Mirror | None = None,
    on_resume: OnResume | None = None,
    on_epoch: OnEpoch | None = None,
    observer: Observer | None = None,
) -> list[dict[str, float]]:
    """Return the history, one dict of metrics an epoch, of training a classifier in place.

    With a validation split the weights of the best validation epoch are kept; without one, the last epoch's.
    Every random choice comes from (seed, epoch, step), so a run that was killed at any moment and started again
    with the same checkpoint path ends with the same weights, bit for bit on a CPU. On SIGTERM it writes a
    checkpoint and exits with code 143.

    Args:
        classifier: Network to train; left in eval mode.
        training: Images and labels.
        validation: Images to select the epoch on; never the test split.
        config: The recipe.
        seed: Of the order of images and their augmentation.
        teacher: Trained network whose features are followed, if `config.distillation` has a weight.
        checkpoint: File to resume from and to write to; None trains without.
        mirror: Copies of that file in a store, for when this machine is lost; the further of both is resumed from.
        on_resume: Called with the place in training and the place of the file, if it resumes.
        on_epoch: Called with the epoch (from 1) and its metrics; with an observer also with epoch 0, before training.
        observer: Measures the curvature while training goes on, as `config.curvature` says, and keeps what it found.
    """
    distillation = None if teacher is None else Distillation(teacher, config.distillation)
    trainer = Trainer(classifier, training, validation, config, seed, distillation, observer)
    if checkpoint is None:
        return trainer.run(None, on_epoch)
    with ExitStack() as stack:
        if distributed.rank() == 0:
            stack.enter_context(exclusive(checkpoint))
            if mirror is not None:
                trainer.mirror = stack.enter_context(mirror)
        trainer.resume(checkpoint, on_resume)
        return trainer.run(checkpoint, on_epoch)


def epoch_count(config: BackboneConfig, images: int) -> int:
    """Return the epochs that training on so many images takes: `epochs`, or more to reach `minimum_steps`."""
    steps = images // min(config.batch_size, images)
    return max(config.epochs, -(-config.minimum_steps // steps))


class Trainer:
    """One training run: network, data, optimiser and position."""

    def __init__(
        self,
        classifier: ImageClassifier,
        training: Split,
        validation: Split | None,
        config: BackboneConfig,
        seed: int,
        distillation: Distillation | None = None,
        observer: Observer | None = None,
    ) -> None:
        distributed.start()
        self.device = distributed.device()
        self.config, self.seed, self.validation, self.distillation = config, seed, validation, distillation
        self.observer = observer
        self.classifier = classifier.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if distillation is not None:
            distillation.teacher.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images = Images(training, self.device)
        self.labels = torch.from_numpy(np.array(training.labels)).to(self.device)
        self.batch_size = min(config.batch_size, len(training))
        self.steps, self.epochs = len(training) // self.batch_size, epoch_count(config, len(training))
        counts = np.bincount(training.labels, minlength=len(classifier.spec.class_names))
        self.take_step = Step(self.classifier, config, counts, seed, distillation)
        self.fill = classifier.mean.flatten().round().to(torch.uint8)
        self.state = _State(precision=resolve(config.precision, self.device))
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.best: dict[str, Tensor] = {}
        self.mirror: Mirror | None = None

    def run(self, checkpoint: Path | None, on_epoch: OnEpoch | None) -> list[dict[str, float]]:
        """Return the history of training to the last epoch."""
        saved = time.monotonic()
        with sigterm_flag() as terminated:
            if self.observer is not None and self.state.epoch == self.state.step == 0:
                self._report(on_epoch, self._observed())
            while self.state.epoch < self.epochs:
                order = self._order()
                while self.state.step < self.steps:
                    self._step(order)
                    stop = distributed.any_process(bool(terminated))
                    due = time.monotonic() - saved > self.config.checkpoint_seconds
                    if checkpoint is not None and (stop or due):
                        self.save(checkpoint)
                        saved = time.monotonic()
                    if stop:
                        kept = "lost without a checkpoint" if checkpoint is None else "kept in the checkpoint"
                        log.warning("terminated in epoch %d: what was learned is %s", self.state.epoch + 1, kept)
                        raise SystemExit(SIGTERM_EXIT)
                self._end_epoch(on_epoch)
            if checkpoint is not None:
                self.save(checkpoint)
        if self.best:
            self.classifier.load_state_dict(self.best)
        self.classifier.eval()
        return self.state.history

    def _order(self) -> Tensor:
        draws = generator(self.seed, ORDER, self.state.epoch)
        if self.config.loss.sampler == "class_aware":
            return class_aware_order(self.labels.cpu(), len(self.labels), draws)
        return torch.randperm(len(self.labels), generator=draws)

    def _step(self, order: Tensor) -> None:
        started, state = time.monotonic(), self.state
        rows = order[state.step * self.batch_size : (state.step + 1) * self.batch_size]
        rows = rows[distributed.rank() :: distributed.world_size()]
        draws = generator(self.seed, AUGMENTATION, state.epoch, state.step, distributed.rank())
        images, labels = self._augmented(rows, draws), self.labels[rows.to(self.device)]
        place = Place(state.epoch, state.step, self.steps, self.epochs)
        sums, state.rate = self.take_step(images, labels, draws, place, state.precision)
        self.sums += sums
        state.step += 1
        state.seconds += time.monotonic() - started

    def _augmented(self, rows: Tensor, draws: torch.Generator) -> Tensor:
        images = self.images.views(rows, self.config.augmentation, draws)
        images = apply_policy(images, self.config.augmentation, self.config.colour_jitter, draws)
        return cut_out(images, self.config.cutout, self.fill, draws)

    def _end_epoch(self, on_epoch: OnEpoch | None) -> None:
        state, seen = self.state, self.steps * self.batch_size
        sums = distributed.total(self.sums)
        metrics = {
            "train/loss": float(sums[0]) / seen,
            "train/accuracy": 100 * float(sums[1]) / seen,
            "train/learning_rate": state.rate,
            "train/images_per_second": seen / state.seconds,
            "train/seconds": state.seconds,
        }
        if not np.isfinite(metrics["train/loss"]):
            raise RuntimeError(
                f"the loss is {metrics['train/loss']} in epoch {state.epoch + 1}: lower backbone.learning_rate"
            )
        if self.take_step.penalty is not None:
            metrics |= self.take_step.penalty.metrics()
        if self.validation is not None:
            metrics["validation/accuracy"] = self._validate()
        state.history.append(metrics)
        state.epoch, state.step = state.epoch + 1, 0
        state.seconds = 0.0
        self.sums.zero_()
        self._report(on_epoch, metrics | self._observed())

    def _observed(self) -> dict[str, float]:
        """Return the metrics of the network's curvature, if it is time for them."""
        if self.observer is None or distributed.rank() != 0:
            return {}
        return self.observer.observe(self.classifier, self.state.epoch, last=self.state.epoch == self.epochs)

    def _report(self, on_epoch: OnEpoch | None, metrics: dict[str, float]) -> None:
        if on_epoch is not None and distributed.rank() == 0:
            on_epoch(self.state.epoch, metrics)

    def _validate(self) -> float:
        assert self.validation is not None
        logits = predict(self.classifier, self.validation, self.config.batch_size)
        accuracy = 100 * float(np.mean(logits.argmax(1) == self.validation.labels))
        if accuracy > self.state.best_accuracy:
            self.state.best_accuracy = accuracy
            self.best = {name: value.detach().clone() for name, value in self.classifier.state_dict().items()}
        return accuracy

    def save(self, path: Path) -> None:
        """Write weights, momentum and position; in a data-parallel run the first process writes."""
        if distributed.rank() != 0:
            return
        tensors = {f"model.{name}": value for name, value in self.classifier.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        if self.distillation is not None:  # its averages may drift
            tensors |= {f"teacher.{name}": value for name, value in self.distillation.teacher.named_buffers()}
        for name, parameter in self.classifier.named_parameters():
            momentum = self.take_step.optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        self.state.sums = self.sums.tolist()
        if self.take_step.penalty is not None:
            self.state.penalty = self.take_step.penalty.state()
        if self.observer is not None:
            self.state.curvature = self.observer.state()
        save_checkpoint(path, tensors, vars(self.state))
        if self.mirror is not None:
            self.mirror.offer(path, progress(vars(self.state)))

    def resume(self, path: Path, on_resume: OnResume | None = None) -> None:
        """Go on from a checkpoint, if the first process has one that can be read."""
        found = distributed.from_first(furthest_checkpoint(path, self.mirror) if distributed.rank() == 0 else None)
        if found is None:
            return
        (tensors, position), origin = found
        self.state = _State(**position)
        self.classifier.load_state_dict(_part(tensors, "model."))
        self.best = _part(tensors, "best.")
        if self.distillation is not None:
            self.distillation.teacher.load_state_dict(_part(tensors, "teacher."), strict=False)
        if self.take_step.penalty is not None and self.state.penalty:
            self.take_step.penalty.restore(self.state.penalty)
        if self.observer is not None:
            self.observer.restore(self.state.curvature)
        self.sums.copy_(torch.tensor(self.state.sums, dtype=torch.float64))
        for name, parameter in self.classifier.named_parameters():
            momentum = tensors.get(f"momentum.{name}")
            if momentum is not None:
                self.take_step.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(
                    momentum
                )
        place = f"epoch {self.state.epoch + 1}, step {self.state.step} of {origin}"
        log.info("resumed at %s", place)
        if on_resume is not None and distributed.rank() == 0:
            on_resume(place)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
