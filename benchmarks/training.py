"""Training images a second: our loop, a plain DataLoader-and-PIL loop, and the pure compute limit, side by side.

All three train the 128-d ResNet-32 on 32×32 RGB images with batch 128 and SGD. They take turns, round by round, and
each ratio is the median over the rounds, so that a machine that speeds up or slows down does not tilt it.

Run: python benchmarks/training.py
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from longtail.config import BackboneConfig
from longtail.networks import ImageClassifier, NetworkSpec, build
from longtail.training import train
from longtail.training.precision import autocast, resolve

BATCH = 128
SPEC = NetworkSpec(
    "resnet32_128", "cosine", (32, 32, 3), tuple(map(str, range(100))), (0.49, 0.48, 0.45), (0.2, 0.2, 0.2)
)
CPU = torch.device("cpu")


@dataclass
class InMemory:
    """A packed split, as the loop reads it."""

    packed: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class PilImages(Dataset):
    """The same images as the tutorials read them: one PIL image at a time."""

    def __init__(self, split: InMemory) -> None:
        self.images = [Image.fromarray(image) for image in split.packed]
        self.labels = split.labels
        self.transform = transforms.Compose([
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(SPEC.mean, SPEC.std),
        ])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def ours(split: InMemory, precision: str) -> float:
    config = BackboneConfig(network="resnet32_128", epochs=1, batch_size=BATCH, precision=precision)
    return train(build(SPEC, 1), split, None, config, seed=1)[0]["train/images_per_second"]


def plain(split: InMemory, workers: int) -> float:
    classifier = build(SPEC, 1).train()
    loader = DataLoader(PilImages(split), BATCH, shuffle=True, drop_last=True, num_workers=workers)
    optimizer = _optimizer(classifier)
    batches = iter(loader)
    started, seen = time.perf_counter(), 0
    for images, labels in batches:
        _step(classifier, optimizer, images, labels, "float32")
        seen += len(labels)
    return seen / (time.perf_counter() - started)


def limit(split: InMemory, precision: str) -> float:
    classifier = build(SPEC, 1).train().to(memory_format=torch.channels_last)
    images = classifier.preprocess(torch.from_numpy(split.packed[:BATCH]))
    labels = torch.from_numpy(split.labels[:BATCH])
    optimizer = _optimizer(classifier)
    steps = len(split) // BATCH
    started = time.perf_counter()
    for _ in range(steps):
        _step(classifier, optimizer, images, labels, precision)
    return steps * BATCH / (time.perf_counter() - started)


def _optimizer(classifier: ImageClassifier) -> torch.optim.SGD:
    return torch.optim.SGD(classifier.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def _step(
    classifier: ImageClassifier,
    optimizer: torch.optim.SGD,
    images: torch.Tensor,
    labels: torch.Tensor,
    precision: str,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    with autocast(precision, CPU):
        loss = F.cross_entropy(classifier(images).float(), labels)
    loss.backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="steps of each loop in a round (default: %(default)s)")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    count = arguments.steps * BATCH
    split = InMemory(generator.integers(0, 256, (count, 32, 32, 3), np.uint8), generator.integers(0, 100, count))
    fast = resolve("auto", CPU)
    loops = {
        "ours, float32": lambda: ours(split, "float32"),
        "limit, float32": lambda: limit(split, "float32"),
        "plain loop, PIL, 0 workers": lambda: plain(split, 0),
        "plain loop, PIL, 2 workers": lambda: plain(split, 2),
    }
    if fast != "float32":
        loops |= {f"ours, {fast}": lambda: ours(split, fast), f"limit, {fast}": lambda: limit(split, fast)}
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for round_number in range(arguments.rounds + 1):
        for name, loop in loops.items():
            rate = loop()
            if round_number:  # the first round warms up
                rates[name].append(rate)
    for name, values in rates.items():
        print(f"{name:28} {statistics.median(values):8.1f} images/s")
    _ratio(rates, "ours, float32", "plain loop, PIL, 0 workers", 1.2)
    _ratio(rates, "ours, float32", "plain loop, PIL, 2 workers", 1.2)
    _ratio(rates, "ours, float32", "limit, float32", 0.95)
    if fast != "float32":
        _ratio(rates, f"ours, {fast}", "plain loop, PIL, 2 workers", 1.2)
        _ratio(rates, f"ours, {fast}", f"limit, {fast}", 0.95)


def _ratio(rates: dict[str, list[float]], name: str, peer: str, target: float) -> None:
    ratio = statistics.median(a / b for a, b in zip(rates[name], rates[peer], strict=True))
    print(f"{name} / {peer}: {ratio:.2f} (aim: at least {target})")


if __name__ == "__main__":
    main()
