"""Training and measuring the networks of the claims, each once: what was done is on disk."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from longtail.artifacts import sha256_json
from longtail.claims.experiment import SGD, STRENGTHS, TUNING_SEEDS, Experiment, digits, untrained
from longtail.claims.measurement import Depth, Meter, errors, middle_layers
from longtail.claims.records import Run, Snapshot, kept
from longtail.config import BackboneConfig, to_dict
from longtail.progress import Progress
from longtail.training import epoch_count, train

log = logging.getLogger(__name__)

_DIVERGED = "the loss is"  # what training says of a loss that is not finite
_VERSION = 2
"""Of what a run's file holds; another one computes all runs anew."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A network to train: one way of training, its strength and a seed."""

    arm: str
    strength: float
    seed: int
    tuning: bool = False  # only its validation errors are wanted


class Laboratory:
    """Trains and measures networks, or reads what it measured before.

    Args:
        experiment: How networks are trained.
        depth: How finely they are measured.
        folder: Where runs are kept.
        progress: Called with the epochs done and the epochs in all.
    """

    def __init__(self, experiment: Experiment, depth: Depth, folder: Path, progress: Progress) -> None:
        self.experiment, self.depth, self.folder = experiment, depth, folder
        self.dataset = digits(folder)
        self.meter = Meter(self.dataset, depth)
        self.computed = 0
        """Runs that were not on disk."""
        self._progress, self._done, self._total = progress, 0, 0

    def runs(self, arms: Sequence[str], seeds: Sequence[int]) -> list[Run]:
        """Return a run of each way of training and each seed; strengths are chosen first, on validation images.

        Raises:
            RuntimeError: If training diverges.
        """
        tuned = [arm for arm in arms if len(STRENGTHS[arm]) > 1]
        trials = len(TUNING_SEEDS) * sum(len(STRENGTHS[arm]) for arm in tuned)
        self._total = self._done + (trials + len(arms) * len(seeds)) * self.experiment.epochs
        strengths = {arm: self.strength(arm) for arm in arms}
        return [self._run(Task(arm, strengths[arm], seed)) for arm in arms for seed in seeds]

    def strength(self, arm: str) -> float:
        """Return the strength with the least mean validation error over the tuning seeds; ties go by the loss.

        A strength with which a run diverged is passed over; an arm with a single strength needs no runs.

        Raises:
            RuntimeError: If runs diverged with all of them.
        """
        candidates = STRENGTHS[arm]
        if len(candidates) == 1:
            return candidates[0]
        scores: dict[float, tuple[float, float]] = {}
        for strength in candidates:
            trials = [self._run(Task(arm, strength, seed, tuning=True)) for seed in TUNING_SEEDS]
            error = [run.validation_error for run in trials if run.validation_error is not None]
            loss = [run.validation_loss for run in trials if run.validation_loss is not None]
            if len(error) == len(trials):
                scores[strength] = (mean(error), mean(loss))
        if not scores:
            raise RuntimeError(f"{arm}: training diverged with every strength of {candidates}")
        return min(scores, key=scores.__getitem__)

    def _run(self, task: Task) -> Run:
        recipe = self.experiment.recipe(task.arm, task.strength)
        measured = None if task.tuning else dataclasses.asdict(self.depth)
        asked = [_VERSION, to_dict(recipe), self.dataset.digest, measured, task.seed]
        kind = "trial" if task.tuning else "run"
        path = self.folder / f"{kind}-{task.arm.replace(', ', '-').replace(' ', '-')}-{sha256_json(asked)[:20]}.json"
        known = path.is_file()
        run = kept(path, lambda: self._trial(task, recipe) if task.tuning else self._measured(task, recipe))
        self.computed += not known
        self._done += known * self.experiment.epochs
        self._progress(self._done, self._total)
        return run

    def _trial(self, task: Task, recipe: BackboneConfig) -> Run:
        """Return validation errors; none if training diverges."""
        classifier = untrained(self.experiment, self.dataset, task.seed)
        run = Run(self.experiment.title, task.arm, task.seed, self._classes, (), task.strength)
        try:
            train(classifier, self.meter.training, None, recipe, seed=task.seed, on_epoch=self._on_epoch())
        except RuntimeError as error:
            if _DIVERGED not in str(error):
                raise
            log.warning("%s %g, seed %d: %s", task.arm, task.strength, task.seed, error)
            return run
        loss, error_rate = errors(classifier, self.dataset.split("validation"))
        return dataclasses.replace(run, validation_error=error_rate, validation_loss=loss)

    def _measured(self, task: Task, recipe: BackboneConfig) -> Run:
        classifier = untrained(self.experiment, self.dataset, task.seed)
        compared = set(self.experiment.compared_epochs) if task.arm == SGD else set()
        measured = set(self.experiment.measured_epochs)
        usual = self.meter.brief if task.arm == SGD else self.meter.trace
        snapshots = [usual(classifier, 0)]

        def on_epoch(epoch: int) -> None:
            if epoch in compared:
                snapshots.append(self.meter.full(classifier, epoch))
            elif epoch in measured:
                snapshots.append(usual(classifier, epoch))

        history = train(
            classifier, self.meter.training, None, recipe, seed=task.seed, on_epoch=self._on_epoch(on_epoch)
        )
        return self._finished(task, recipe, snapshots, [epoch["train/seconds"] for epoch in history])

    def _finished(self, task: Task, recipe: BackboneConfig, snapshots: list[Snapshot], seconds: Sequence[float]) -> Run:
        images = len(self.meter.training)
        assert epoch_count(recipe, images) == len(seconds)
        steps = images // min(recipe.batch_size, images)
        layers = list(snapshots[-1].layers)
        classifier = untrained(self.experiment, self.dataset, task.seed)
        return Run(
            network=self.experiment.title,
            arm=task.arm,
            seed=task.seed,
            classes=self._classes,
            snapshots=tuple(snapshots),
            strength=task.strength,
            seconds_per_step=min(seconds) / steps,  # other work on the machine only adds to an epoch
            middle=middle_layers(classifier, layers),
        )

    def _on_epoch(self, more: Callable[[int], None] | None = None) -> Callable[[int, dict[str, float]], None]:
        """Return a function that counts an epoch after doing more."""

        def done(epoch: int, _metrics: dict[str, float]) -> None:
            if more is not None:
                more(epoch)
            self._done += 1
            self._progress(self._done, self._total)

        return done

    @property
    def _classes(self) -> int:
        return len(self.dataset.class_names)
