"""Images a second of `longtail predict`, from encoded files to the finished Parquet file, beside the bare network.

The bare network is what the command can at best attain: the same batches, decoded beforehand, through the same layers
in a plain PyTorch loop, and nothing else. Both run the 128-d ResNet-32 on 32×32 PNG files. They take turns, round by
round, and the ratio is the median over the rounds, so that a machine that speeds up or slows down does not tilt it.

Run: python benchmarks/prediction.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from longtail.networks import NetworkSpec, build, save
from longtail.prediction import Options, Predictor, predict
from longtail.prediction.batches import ImageInputs
from longtail.prediction.sources import open_images
from longtail.serving import ServedClassifier

BATCH = 256
SPEC = NetworkSpec(
    "resnet32_128", "cosine", (32, 32, 3), tuple(map(str, range(100))), (0.49, 0.48, 0.45), (0.2, 0.2, 0.2)
)


def write_images(folder: Path, images: np.ndarray) -> None:
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:06d}.png")


def ours(predictor: Predictor, folder: Path, out: Path) -> float:
    started = time.perf_counter()
    inputs = ImageInputs(open_images(str(folder)), predictor.preparation())
    predict(predictor, inputs, out, Options("benchmark/1", BATCH), lambda done, total: None)
    rate = len(inputs) / (time.perf_counter() - started)
    out.unlink()  # or the next round would find it done
    return rate


def bare(images: torch.Tensor) -> float:
    served = ServedClassifier(build(SPEC, 0)).eval().to(memory_format=torch.channels_last)
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in images.split(BATCH):
            served(batch)
    return len(images) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=4096, help="images of a round (default: %(default)s)")
    arguments = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (arguments.images, 32, 32, 3), np.uint8)
    rates: dict[str, list[float]] = {"longtail predict": [], "bare network": []}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "images"
        folder.mkdir()
        write_images(folder, images)
        save(build(SPEC, 0), Path(work) / "artifacts" / "network", {"method": "benchmark"})
        predictor = Predictor(Path(work))
        for round_number in range(arguments.rounds + 1):
            rate = ours(predictor, folder, Path(work) / "out.parquet"), bare(torch.from_numpy(images))
            if round_number:  # the first round warms up
                for values, value in zip(rates.values(), rate, strict=True):
                    values.append(value)
    for name, values in rates.items():
        print(f"{name:18} {statistics.median(values):8.1f} images/s")
    ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    print(f"longtail predict / bare network: {ratio:.2f} (aim: at least 0.8)")


if __name__ == "__main__":
    main()
