"""TailCalib at ImageNet-LT's size, streamed to disk: peak memory against the input's, time against writing alone.

115,846 x 2,048 float32 features of 1,000 classes (1,280 to 5 a class) are balanced to 1,280 a class: 10.5 GB. Three
fresh processes, none of which imports torch: one makes the input, one balances it, one writes as many bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np

CLASSES, ROWS, FEATURES, LARGEST, SMALLEST = 1000, 115_846, 2048, 1280, 5
BLOCK_ROWS = 1024


def class_counts(n_classes: int, n_rows: int) -> np.ndarray:
    """Return Pareto-like counts from 1,280 down to 5 with a given sum."""
    position = 1 - np.arange(n_classes) / (n_classes - 1)
    low, high = 0.1, 100.0
    for _ in range(60):
        power = (low + high) / 2
        counts = np.rint(SMALLEST + (LARGEST - SMALLEST) * position**power).astype(int)
        low, high = (power, high) if counts.sum() > n_rows else (low, power)
    missing = n_rows - counts.sum()
    counts[1 : 1 + abs(missing)] += np.sign(missing)
    return counts


def make(folder: Path, fraction: float) -> None:
    """Write non-negative unit features of related classes, rows in random order."""
    rng = np.random.default_rng(0)
    n_classes = round(CLASSES * fraction)
    counts = class_counts(n_classes, round(ROWS * fraction))
    y = rng.permutation(np.repeat(np.arange(n_classes), counts))
    superclasses = rng.gamma(1, 1, (max(1, n_classes // 10), FEATURES)).astype(np.float32)
    means = superclasses[np.arange(n_classes) % len(superclasses)] + rng.gamma(0.5, 1, (n_classes, FEATURES))
    directions = 0.02 * rng.standard_normal((256, FEATURES), dtype=np.float32)
    X = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.float32, shape=(len(y), FEATURES))
    for start in range(0, len(y), BLOCK_ROWS):
        labels = y[start : start + BLOCK_ROWS]
        noise = rng.standard_normal((len(labels), len(directions)), dtype=np.float32) @ directions
        block = np.maximum(means[labels] + noise + 0.1 * rng.standard_normal(noise.shape, dtype=np.float32), 0)
        X[start : start + len(labels)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    np.save(folder / "y.npy", y)


def balance(folder: Path) -> None:
    """Balance the input into one file: the original rows, then the generated ones."""
    from longtail.artifacts import write_array
    from longtail.calibration import TailCalib

    started = time.perf_counter()
    X, y = np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy")
    sampler = TailCalib(n_neighbors=3, random_state=0).fit(X, y)
    fitted = time.perf_counter()
    shape = (len(X) + len(sampler.seed_rows_), X.shape[1])
    original = (X[start : start + BLOCK_ROWS] for start in range(0, len(X), BLOCK_ROWS))
    write_array(folder / "Z.npy", shape, X.dtype, chain(original, (rows for rows, _, _ in sampler.iter_generated())))
    with (folder / "Z.npy").open("rb+") as file:
        os.fsync(file.fileno())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    counts = np.bincount(np.concatenate((y, sampler.generated_labels_)))
    report = {
        "seconds": time.perf_counter() - started,
        "fit_seconds": fitted - started,
        "cpu_seconds": time.process_time(),
        "peak_bytes": 1024 * int(status["VmHWM"].split()[0]),
        "balanced": bool((counts == LARGEST).all()),
        "torch": "torch" in sys.modules,
        "bytes": (folder / "Z.npy").stat().st_size,
    }
    print(json.dumps(report))


def write(folder: Path, n_bytes: int) -> None:
    """Write as many bytes in blocks of the same size."""
    block = np.random.default_rng(0).bytes(BLOCK_ROWS * FEATURES * 4)
    started = time.perf_counter()
    with (folder / "zeros.bin").open("wb") as file:
        for start in range(0, n_bytes, len(block)):
            file.write(block[: n_bytes - start])
        os.fsync(file.fileno())
    print(json.dumps({"seconds": time.perf_counter() - started}))


def run(folder: Path, phase: str, *options: str) -> dict[str, float]:
    """Run one phase in a process of its own and return what it reports."""
    command = [sys.executable, __file__, "--dir", str(folder), "--phase", phase, *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output) if output else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dir", type=Path, help="folder for about 12 GB, removed afterwards (default: a temporary one)"
    )
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the classes and rows")
    parser.add_argument("--phase", choices=["all", "make", "balance", "write"], default="all", help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase == "make":
        make(arguments.dir, arguments.fraction)
    elif arguments.phase == "balance":
        balance(arguments.dir)
    elif arguments.phase == "write":
        write(arguments.dir, arguments.bytes)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
            compare(Path(name), arguments.fraction)


def compare(folder: Path, fraction: float) -> None:
    """Run all phases and print the two ratios."""
    run(folder, "make", "--fraction", str(fraction))
    size = (folder / "X.npy").stat().st_size
    found = run(folder, "balance")
    (folder / "Z.npy").unlink()
    alone = run(folder, "write", "--bytes", str(int(found["bytes"])))
    print(f"input {size / 1e9:.2f} GB, output {found['bytes'] / 1e9:.2f} GB, balanced: {found['balanced']}")
    print(f"peak memory {found['peak_bytes'] / 1e9:.2f} GB = {found['peak_bytes'] / size:.2f} x input (target <= 1.50)")
    print(
        f"{found['seconds']:.1f} s (fit {found['fit_seconds']:.1f} s; {found['cpu_seconds']:.1f} CPU s); "
        f"writing alone {alone['seconds']:.1f} s: {found['seconds'] / alone['seconds']:.2f} x; "
        f"torch imported: {found['torch']}"
    )


if __name__ == "__main__":
    main()
