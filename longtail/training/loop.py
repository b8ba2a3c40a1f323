"""The training loop: whole data set in memory, batched augmentation, resumable at any step."""

import logging
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtail.config import BackboneConfig
from longtail.data.dataset import Split
from longtail.networks import ImageClassifier
from longtail.training import distributed
from longtail.training.augmentation import augment
from longtail.training.batches import Images
from longtail.training.checkpoint import exclusive, load_checkpoint, save_checkpoint
from longtail.training.precision import autocast, resolve
from longtail.training.schedule import learning_rate

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
_ORDER, _AUGMENTATION = 0, 1
"""Streams of random numbers that share nothing."""
SIGTERM_EXIT = 128 + signal.SIGTERM


@dataclass
class _State:
    """Where training is; everything but the tensors."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of loss and of correct answers in this epoch
    seconds: float = 0.0
    best_accuracy: float = -1.0
    precision: str = ""
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    classifier: ImageClassifier,
    training: Split,
    validation: Split | None,
    config: BackboneConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
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
        checkpoint: File to resume from and to write to; None trains without.
        on_epoch: Called with the epoch (from 1) and its metrics.
    """
    trainer = Trainer(classifier, training, validation, config, seed)
    if checkpoint is None:
        return trainer.run(None, on_epoch)
    with exclusive(checkpoint) if distributed.rank() == 0 else nullcontext():
        distributed.barrier()  # the others read the checkpoint when the first process holds it for all
        trainer.resume(checkpoint)
        return trainer.run(checkpoint, on_epoch)


class Trainer:
    """One training run: network, data, optimiser and position."""

    def __init__(
        self, classifier: ImageClassifier, training: Split, validation: Split | None, config: BackboneConfig, seed: int
    ) -> None:
        distributed.start()
        self.device = distributed.device()
        self.config, self.seed, self.validation = config, seed, validation
        self.classifier = classifier.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = distributed.wrap(self.classifier)
        self.images = Images(training, self.device)
        self.labels = torch.from_numpy(np.array(training.labels)).to(self.device)
        self.batch_size = min(config.batch_size, len(training))
        self.steps = len(training) // self.batch_size
        self.optimizer = torch.optim.SGD(
            self.classifier.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,  # without momentum it is the same, and PyTorch refuses it
            weight_decay=config.weight_decay,
        )
        self.state = _State(precision=resolve(config.precision, self.device))
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.best: dict[str, Tensor] = {}

    def run(self, checkpoint: Path | None, on_epoch: OnEpoch | None) -> list[dict[str, float]]:
        """Return the history of training to the last epoch."""
        saved = time.monotonic()
        with _sigterm_flag() as terminated:
            while self.state.epoch < self.config.epochs:
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
        generator = _generator(self.seed, _ORDER, self.state.epoch)
        return torch.randperm(len(self.labels), generator=generator)

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step of this epoch."""
        config = self.config
        progress = (self.state.epoch * self.steps + step) / (config.epochs * self.steps)
        return learning_rate(config.schedule, config.learning_rate, progress, config.warmup)

    def _step(self, order: Tensor) -> None:
        started = time.monotonic()
        state, config = self.state, self.config
        rows = order[state.step * self.batch_size : (state.step + 1) * self.batch_size]
        rows = rows[distributed.rank() :: distributed.world_size()]
        generator = _generator(self.seed, _AUGMENTATION, state.epoch, state.step, distributed.rank())
        images = augment(self.images.batch(rows), config.augmentation, generator)
        labels = self.labels[rows.to(self.device)]
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(state.step)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(state.precision, self.device):
            logits = self.model(self.classifier.preprocess(images))
            loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step()
        self.sums += torch.stack([loss.detach() * len(rows), (logits.argmax(1) == labels).sum()])
        state.step += 1
        state.seconds += time.monotonic() - started

    def _end_epoch(self, on_epoch: OnEpoch | None) -> None:
        state, seen = self.state, self.steps * self.batch_size
        sums = distributed.total(self.sums)
        metrics = {
            "train/loss": float(sums[0]) / seen,
            "train/accuracy": 100 * float(sums[1]) / seen,
            "train/learning_rate": self._rate(self.steps - 1),
            "train/images_per_second": seen / state.seconds,
            "train/seconds": state.seconds,
        }
        if not np.isfinite(metrics["train/loss"]):
            raise RuntimeError(
                f"the loss is {metrics['train/loss']} in epoch {state.epoch + 1}: lower backbone.learning_rate"
            )
        if self.validation is not None:
            metrics["validation/accuracy"] = self._validate()
        state.history.append(metrics)
        state.epoch, state.step = state.epoch + 1, 0
        state.seconds = 0.0
        self.sums.zero_()
        if on_epoch is not None and distributed.rank() == 0:
            on_epoch(state.epoch, metrics)

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
        for name, parameter in self.classifier.named_parameters():
            momentum = self.optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        self.state.sums = self.sums.tolist()
        save_checkpoint(path, tensors, vars(self.state))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one that can be read."""
        found = load_checkpoint(path)
        if found is None:
            return
        tensors, position = found
        self.state = _State(**position)
        self.classifier.load_state_dict(_part(tensors, "model."))
        self.best = _part(tensors, "best.")
        self.sums.copy_(torch.tensor(self.state.sums, dtype=torch.float64))
        for name, parameter in self.classifier.named_parameters():
            momentum = tensors.get(f"momentum.{name}")
            if momentum is not None:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        log.info("resumed at epoch %d, step %d", self.state.epoch + 1, self.state.step)


@torch.no_grad()
def predict(classifier: ImageClassifier, split: Split, batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return logits (N, classes) float32 of a split's clean images, in eval mode."""
    classifier.eval()
    device = classifier.mean.device
    images = Images(split, device)
    chunks = [
        classifier(classifier.preprocess(images.batch(rows))).float().cpu()
        for rows in torch.arange(len(split)).split(batch_size)
    ]
    return torch.cat(chunks).numpy()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _generator(*seeds: int) -> torch.Generator:
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


@contextmanager
def _sigterm_flag() -> Generator[list[int]]:
    """Yield a list that becomes non-empty when SIGTERM arrives."""
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
