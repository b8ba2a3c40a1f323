"""Milliseconds of a training step with the trace penalty, beside a plain step.

Kinds of steps take turns, and each ratio to the plain step is the median over the rounds, so that a machine that speeds
up or slows down does not tilt it. `shared` penalises the loss's own graph; the others a share of the minibatch, with
its own batch statistics, in a graph of its own, as training does by default. A step has one backward pass through all.

Run: python benchmarks/htr.py
"""

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from torch.nn import functional as F

from longtail.config import TracePenaltyConfig
from longtail.hessian.batch_norm import ComposedBatchNorm
from longtail.hessian.regularization import TracePenalty
from longtail.networks import ImageClassifier, NetworkSpec, build
from longtail.training.trace_penalty import StepPenalty

CLASSES = 100
WEIGHT = 1e-3


class Step:
    """One kind of step on one minibatch."""

    def __init__(self, classifier: ImageClassifier, form: str, layers: str, share: float) -> None:
        self.classifier, self.share = classifier, share
        self.optimizer = torch.optim.SGD(classifier.parameters(), lr=1e-3, momentum=0.9)
        self.penalty = TracePenalty(classifier, layers=layers, form=form) if form else None
        if share:
            config = TracePenaltyConfig(weight=WEIGHT, layers=(layers,), form=form, share=share)
            self.separate = StepPenalty(classifier, config)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, x: torch.Tensor, labels: torch.Tensor) -> float:
        """Return the seconds of one step."""
        started = time.perf_counter()
        self.classifier.train()
        self.optimizer.zero_grad(set_to_none=True)
        with ComposedBatchNorm() if self.penalty is not None and not self.share else nullcontext():
            logits = self.classifier(x)
        total = loss = F.cross_entropy(logits, labels)
        if self.penalty is not None and not self.share:
            total = loss + WEIGHT * self.penalty(logits, loss, self.generator)
        elif self.penalty is not None:
            total = loss + WEIGHT * self._separate(x, labels)
        total.backward()
        self.optimizer.step()
        return time.perf_counter() - started

    def _separate(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.separate.of_share(
            x, lambda logits, count: (logits, F.cross_entropy(logits, labels[:count])), self.generator
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet32_128", help="backbone (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images of a step (default: %(default)s)")
    parser.add_argument("--head", default="linear", help="classifier (default: %(default)s)")
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.25, help="of the minibatch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", help="kinds whose names begin so, beside the plain step")
    given = parser.parse_args()
    names = tuple(map(str, range(CLASSES)))
    spec = NetworkSpec(given.network, given.head, (given.side, given.side, 3), names, (0.5,) * 3, (0.2,) * 3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (given.batch, given.side, given.side, 3), generator=generator).byte()
    labels = torch.randint(0, CLASSES, (given.batch,), generator=generator)
    steps = {"plain": Step(build(spec, 1).to(memory_format=torch.channels_last), "", "", 0)}
    for share in (given.share, 0.0):
        for form in ("first_order", "hutchinson"):
            for layers in ("all", "middle"):
                classifier = build(spec, 1).to(memory_format=torch.channels_last)
                name = f"{form} {layers}, {f'share {share:g}' if share else 'shared'}"
                if name.startswith(given.only):
                    steps[name] = Step(classifier, form, layers, share)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    x = steps["plain"].classifier.preprocess(images)
    for round_number in range(given.rounds + 1):
        for name, step in steps.items():
            taken = step(x, labels)
            if round_number:  # the first round warms up
                seconds[name].append(taken)
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["plain"], strict=True))
        print(f"{name:36} {1000 * statistics.median(values):9.0f} ms {ratio:6.2f} × plain")


if __name__ == "__main__":
    main()
