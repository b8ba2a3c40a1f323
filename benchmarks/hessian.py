"""Layerwise curvature of ResNet-32 on 256 real images: ours, PyHessian, curvlinops, and the paper's way, side by side.

Four comparisons in processor seconds of one thread, each with its ratio: the traces of all weight layers at equal
standard error, the top eigenvalue of all weight layers to 1 %, one product with the whole network's Hessian, and what a
whole analysis takes. PyHessian is applied layer by layer with its graph kept, which it does not offer but allows; the
paper's code rebuilds forward pass and gradient for every layer and product (Sankar et al. 2021, arXiv 2012.03801).

Run: python benchmarks/hessian.py [--data PATH_OF_CIFAR100]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from pyhessian import hessian as pyhessian
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.config import BackboneConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.hessian import analyze
from longtail.hessian.block_traces import block_traces
from longtail.hessian.curvature import BlockOperator
from longtail.hessian.isolation import isolated
from longtail.hessian.journal import Journal
from longtail.hessian.layers import select, trainable
from longtail.hessian.operators import Objective, measure
from longtail.hessian.sketch import sketch_cost
from longtail.hessian.spectra import iterative_spectra
from longtail.networks import ImageClassifier, NetworkSpec, build
from longtail.settings import resolve
from longtail.training import train

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A trained network, a batch, and its weight layers."""

    model: ImageClassifier
    batch: Batch
    objective: Objective
    layers: dict[str, nn.Parameter]

    @property
    def blocks(self) -> dict[str, list[str]]:
        """Names of the parameters of each block."""
        return {name: [name] for name in self.layers}


def prepare(dataset: Dataset, head: str, images: int, epochs: int) -> Case:
    """Train for a few epochs, as curvature at initialisation is another matter."""
    split = dataset.split("train")
    spec = NetworkSpec(
        "resnet32_128", head, dataset.image_shape, dataset.class_names, tuple(dataset.mean), tuple(dataset.std)
    )
    classifier = build(spec, 1)
    config = BackboneConfig(network="resnet32_128", head=head, epochs=epochs, batch_size=64, learning_rate=0.05)
    train(classifier, split, None, config, seed=1)
    rows = np.sort(np.random.default_rng(0).permutation(len(split))[:images])
    batch = (classifier.preprocess(torch.from_numpy(split.images(rows))), torch.from_numpy(split.labels[rows]))
    parameters = trainable(classifier.to(memory_format=torch.contiguous_format))
    objective = measure(classifier.eval(), F.cross_entropy, [batch], parameters)
    return Case(classifier, batch, objective, {name: parameters[name] for name in select(parameters, "weights")})


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Return processor seconds, which other work on the machine hardly changes, and what the function returns."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def kept_graph(case: Case) -> pyhessian:
    """PyHessian with the graph of the whole batch."""
    found = pyhessian(case.model, F.cross_entropy, data=case.batch, cuda=False)
    case.model.zero_grad(set_to_none=True)
    return found


def layerwise(found: pyhessian, case: Case, name: str) -> pyhessian:
    """The same, restricted to one layer."""
    everything = [parameter for parameter in case.model.parameters() if parameter.requires_grad]
    place = next(i for i, parameter in enumerate(everything) if parameter is case.layers[name])
    restricted = object.__new__(pyhessian)
    restricted.__dict__.update(found.__dict__)
    restricted.params, restricted.gradsH = [everything[place]], [found.gradsH[place]]
    return restricted


def rebuilt_product(case: Case, name: str) -> None:
    """One product as in the paper's code: forward pass and gradient made anew for it."""
    weight = case.layers[name]
    loss = F.cross_entropy(case.model(case.batch[0]), case.batch[1])
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    torch.autograd.grad(gradient, weight, torch.randn_like(weight))


def bench_traces(case: Case, probes: int, peer_probes: int) -> None:
    """Seconds until every layer's trace has the standard error that ours reaches."""
    ours, found = timed(
        lambda: block_traces(case.objective, case.blocks, probes, 0, lambda *_: None, Journal(None, ""))
    )
    graph, peer = timed(lambda: kept_graph(case))
    kept = rebuilt = 0.0
    for name in case.layers:
        seconds, samples = timed(lambda name=name: layerwise(peer, case, name).trace(maxIter=peer_probes, tol=0))
        needed = float(np.var(samples, ddof=1)) / found.estimates[name].stderr ** 2  # probes to our standard error
        kept += needed * seconds / peer_probes
        rebuilt += needed * timed(lambda name=name: rebuilt_product(case, name))[0]
    relative = statistics.median(value.stderr / abs(value.value) for value in found.estimates.values())
    served = len(found.first_order & set(case.layers))
    print(f"traces of {len(case.layers)} layers, {served} by first derivatives, median standard error {relative:.1%}")
    print(
        f"  ours {ours:.1f} s; PyHessian layer by layer {kept + graph:.0f} s; rebuilt for every layer {rebuilt:.0f} s"
    )
    print(f"  ratio to PyHessian {(kept + graph) / ours:.1f} (aim: 15), to rebuilding {rebuilt / ours:.0f} (aim: 50)")


def bench_top(case: Case) -> None:
    """Seconds until every layer's top eigenvalue is within 1 % of the truth, the peer's tolerance tightened until then.

    Every method errs from below, so the truth is the largest value that any of them finds, ours to 0.1 % among them.
    """

    def ours(accuracy: float) -> dict[str, float]:
        operator = BlockOperator(case.objective, case.blocks, "hessian")  # keeps its graph, as the peer does
        found = iterative_spectra(
            operator,
            set(),
            steps=40,
            runs=1,
            accuracy=accuracy,
            seed=0,
            journal=Journal(None, ""),
            progress=lambda *_: None,
        )
        products.update({name: spectrum.products for name, spectrum in found.items()})
        return {name: spectrum.top for name, spectrum in found.items()}

    products: dict[str, int] = {}
    truth = ours(1e-3)
    seconds, found = timed(lambda: ours(0.01))
    print(f"top eigenvalue of {len(truth)} layers: ours {seconds:.1f} s, {sum(products.values())} products", end="")
    print(f" beside {sketch_cost(len(case.batch[0])):.0f} gradients for all sketches", flush=True)
    for tolerance in (1e-2, 3e-3, 1e-3, 3e-4):
        peer, values = timed(lambda tolerance=tolerance: power_iterations(case, tolerance))
        truth = {name: max(value, values[name], found[name]) for name, value in truth.items()}
        error = max(1 - values[name] / truth[name] for name in truth)
        print(f"  PyHessian layer by layer, tolerance {tolerance:g}: {peer:.1f} s, worst error {error:.2%}", flush=True)
        if error <= 0.01:
            break
    print(f"  ours: worst error {max(1 - found[name] / truth[name] for name in truth):.2%}")
    print(f"  ratio to PyHessian {'' if error <= 0.01 else 'more than '}{peer / seconds:.1f} (aim: 4)")


def power_iterations(case: Case, tolerance: float) -> dict[str, float]:
    found = kept_graph(case)
    return {name: layerwise(found, case, name).eigenvalues(maxIter=200, tol=tolerance)[0][0] for name in case.layers}


def bench_product(case: Case, rounds: int) -> None:
    """Seconds of one product with the whole network's Hessian, graphs kept where the library keeps them."""
    parameters = [parameter for parameter in case.model.parameters() if parameter.requires_grad]
    vector = torch.randn(sum(parameter.numel() for parameter in parameters))
    pieces = [
        piece.view_as(parameter)
        for piece, parameter in zip(vector.split([p.numel() for p in parameters]), parameters, strict=True)
    ]
    operator = BlockOperator(case.objective, {"": list(case.objective.parameters)}, "hessian")
    peer = kept_graph(case)
    loss = F.cross_entropy(case.model(case.batch[0]), case.batch[1])
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    linear = HessianLinearOperator(
        case.model, nn.CrossEntropyLoss(), parameters, [case.batch], check_deterministic=False
    )
    values = {name: parameter.detach() for name, parameter in case.objective.parameters.items()}
    tangents = dict(zip(values, pieces, strict=True))

    def slope(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return torch.func.grad(
            lambda values: F.cross_entropy(torch.func.functional_call(case.model, values, case.batch[0]), case.batch[1])
        )(values)

    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: operator.products({"": vector}, lambda key: key),
        "forward over reverse": lambda: torch.func.jvp(slope, (values,), (tangents,)),
        "PyHessian": lambda: torch.autograd.grad(peer.gradsH, peer.params, pieces, retain_graph=True),
        "plain torch": lambda: torch.autograd.grad(gradients, parameters, pieces, retain_graph=True),
        "curvlinops": lambda: linear @ vector,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            taken, _ = timed(way)
            if number:  # the first round warms up
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("one whole-network product: " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()))
    fastest = min((name for name in medians if name != "ours"), key=medians.__getitem__)
    ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds[fastest], strict=True))
    print(f"  ratio to the fastest, {fastest}: {ratio:.2f} (aim: at most 1.1)")


def bench_analysis(case: Case) -> None:
    """Seconds and cost of a whole report: every layer's trace and top eigenvalue, the densities of seven."""
    seconds, report = timed(lambda: analyze(case.model, F.cross_entropy, [case.batch], densities=6))
    print(f"whole analysis {seconds:.0f} s (aim: under 600), {report.cost:.0f} gradients by operation count")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="images, such as CIFAR-100 (default: scanned digits at 32×32)")
    parser.add_argument("--head", default="linear", choices=["linear", "cosine"], help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of training before (default: %(default)s)")
    parser.add_argument("--probes", type=int, default=4, help="of our traces (default: %(default)s)")
    parser.add_argument("--peer-probes", type=int, default=4, help="that a variance is from (default: %(default)s)")
    parser.add_argument("--only", default="", help="one of traces, top, product, analysis")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # so that processor seconds are those of the work, and comparable
    preset = "cifar100-lt" if arguments.data else "digits"
    size = [] if arguments.data else ["data.image_size=32"]
    config = resolve(preset, size, arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        build_dataset(config.data, Path(folder) / "dataset")
        case = prepare(Dataset.open(Path(folder) / "dataset"), arguments.head, arguments.images, arguments.epochs)
        gradient, _ = timed(
            lambda: torch.autograd.grad(F.cross_entropy(case.model(case.batch[0]), case.batch[1]), case.layers.values())
        )
        parameters = sum(parameter.numel() for parameter in case.model.parameters())
        print(
            f"ResNet-32, {arguments.head} head, {parameters:,} parameters, {arguments.images} images, "
            f"mean loss {case.objective.mean_loss:.3g}, a gradient {gradient:.2f} s"
        )
        parts = {
            "traces": lambda: bench_traces(case, arguments.probes, arguments.peer_probes),
            "top": lambda: bench_top(case),
            "product": lambda: bench_product(case, 7),
            "analysis": lambda: bench_analysis(case),
        }
        with isolated(case.model):
            for name, part in parts.items():
                if arguments.only in ("", name):
                    part()


if __name__ == "__main__":
    main()
