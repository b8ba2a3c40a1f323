"""TailCalib against the PyPI package `tailcalib` and against the limit of the hardware, in one run.

Balances 10,847 x 128 features of 100 classes (CIFAR-100-LT's profile at factor 100), K = 3. The limit is the time of
drawing as many normals and multiplying matrices of the same shapes, on as many threads, into preallocated memory,
and nothing else: no statistics, no neighbours, no sums. It is given with NumPy's normals, and, stricter, with ours.
"""

import argparse
import contextlib
import functools
import io
import statistics
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from longtail.calibration import TailCalib
from longtail.calibration.sampling import fill_normals
from longtail.calibration.threads import ordered_map

NEIGHBORS = 3


def make_features(n_classes: int, n_features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return non-negative unit features like a ReLU network's: related classes, shared directions of variance."""
    rng = np.random.default_rng(seed)
    counts = np.floor(500 * 0.01 ** (np.arange(n_classes) / (n_classes - 1))).astype(int)
    y = np.repeat(np.arange(n_classes), counts)
    superclass = rng.gamma(1.0, 1.0, (n_classes // 5, n_features))
    means = superclass[rng.permutation(n_classes) % len(superclass)] + rng.gamma(0.5, 1.0, (n_classes, n_features))
    mixing = rng.standard_normal((n_features, n_features)) * np.linspace(1, 0.05, n_features)[:, None]
    X = means[y] + 0.15 * rng.standard_normal((len(y), n_features)) @ mixing
    X = np.maximum(X, 0).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    order = rng.permutation(len(y))
    return X[order], y[order]


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return elapsed and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def make_limit(fitted: TailCalib, draw: Callable[[np.random.Generator, np.ndarray], object]) -> Callable[[], object]:
    """Return a function that draws the normals and does the matrix products of `fitted`, and nothing else."""
    plan, factors, n_features = fitted._plan, fitted._factors, fitted.n_features_in_
    tasks = []
    for span in plan.spans:
        seeds = plan.seeds_of_rows[span]
        entries, rows = np.unique(plan._recipe.entries[seeds], return_counts=True)
        shapes = [
            (count, len(factors.factor(int(entry)))) for entry, count in zip(entries, rows, strict=True) if entry >= 0
        ]
        tasks.append((shapes, int(plan._recipe.noisy[seeds].sum()) * n_features))
    largest = max(max(sum(k * r for k, r in shapes), noise) for shapes, noise in tasks)
    generators = [np.random.Generator(np.random.SFC64(task)) for task in range(len(tasks))]
    normals = [np.empty(largest, np.float32) for _ in tasks]
    products = [np.empty((max(k for k, _ in shapes), n_features), np.float32) for shapes, _ in tasks]
    matrix = np.full((n_features, n_features), 0.1, np.float32)

    def run(task: int) -> None:
        shapes, noise = tasks[task]
        draw(generators[task], normals[task][:noise])
        offset = 0
        draw(generators[task], normals[task][: sum(k * r for k, r in shapes)])
        for k, r in shapes:
            np.matmul(normals[task][offset : offset + k * r].reshape(k, r), matrix[:r], out=products[task][:k])
            offset += k * r

    return lambda: deque(ordered_map(run, len(tasks)), maxlen=0)


def numpy_normals(rng: np.random.Generator, out: np.ndarray) -> None:
    rng.standard_normal(out=out, dtype=np.float32)


def peer(engine: str, X: np.ndarray, y: np.ndarray) -> object:
    """Balance with the PyPI package, silenced."""
    import tailcalib
    import torch

    tailcalib.torch = torch  # Its shuffle uses torch without importing it.
    tailcalib.tqdm = lambda iterable: iterable
    features, labels = (X, y) if engine == "numpy" else (torch.from_numpy(X), torch.from_numpy(y))
    with contextlib.redirect_stdout(io.StringIO()):
        return tailcalib.tailcalib(engine).generate(features, labels, tukey_value=1.0, alpha=0.0, topk=NEIGHBORS)


def measure(repetitions: int, functions: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the median elapsed and processor seconds of each function, all of them taking turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repetitions + 1):
        for name, function in functions.items():
            times[name].append(timed(function))
    return {
        name: (statistics.median(t[0] for t in found[1:]), statistics.median(t[1] for t in found[1:]))
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--skip-peers", action="store_true", help="only compare with the limit")
    arguments = parser.parse_args()
    X, y = make_features(100, 128, seed=0)
    ours = TailCalib(n_neighbors=NEIGHBORS, random_state=0)
    balanced, _ = ours.fit_resample(X, y)
    found = measure(
        arguments.repetitions,
        {
            "ours": lambda: ours.fit_resample(X, y),
            "limit, our normals": make_limit(ours, fill_normals),
            "limit, NumPy's normals": make_limit(ours, numpy_normals),
        },
    )
    print(
        f"{len(X):,} x {X.shape[1]} features to {len(balanced):,}, K = {NEIGHBORS}, median of {arguments.repetitions}"
    )
    print(f"{'':28}{'seconds':>10}{'CPU s':>10}{'/ ours':>10}{'CPU / ours':>12}{'target':>10}")

    def show(name: str, times: tuple[float, float], target: float | None = None) -> None:
        ratios = f"{times[0] / found['ours'][0]:10.2f}{times[1] / found['ours'][1]:12.2f}"
        goal = f"   >= {target:.2f}" if target else ""
        print(f"{name:28}{times[0]:10.4f}{times[1]:10.4f}{ratios}{goal}", flush=True)

    show("ours", found["ours"])
    show("limit, our normals", found["limit, our normals"])
    show("limit, NumPy's normals", found["limit, NumPy's normals"], 1 / 1.5)
    if not arguments.skip_peers:
        show("tailcalib, pytorch engine", timed(functools.partial(peer, "pytorch", X, y)), 60.0)
        show("tailcalib, numpy engine", timed(functools.partial(peer, "numpy", X, y)), 100.0)


if __name__ == "__main__":
    main()
