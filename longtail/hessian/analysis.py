"""Analyse the curvature of a network's loss: the whole network and layer by layer.

After Sankar et al. 2021, "A Deeper Look at the Hessian Eigenspectrum of Deep Neural Networks and its Applications to
Regularization" (arXiv 2012.03801). Unlike the authors' code: always in evaluation mode, Lanczos with full
reorthogonalisation, all layers' products from one graph, and traces with standard errors.
"""

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from longtail.errors import InputError
from longtail.hessian.block_traces import BlockTraces, block_cost, block_traces, gauss_newton_parameters
from longtail.hessian.curvature import CURVATURES, BlockOperator
from longtail.hessian.gram import MOST_ROWS, gram_eigenvalues, gram_size
from longtail.hessian.isolation import isolated
from longtail.hessian.journal import Journal, digest
from longtail.hessian.layers import WEIGHTS, LayerSelection, select, trainable
from longtail.hessian.low_rank_traces import hutch_plus_plus, xtrace
from longtail.hessian.operators import Batches, Loss, measure
from longtail.hessian.report import LayerReport, Report
from longtail.hessian.sketch import sketch_cost
from longtail.hessian.spectra import BlockSpectrum, exact_spectrum, iterative_spectra
from longtail.hessian.trace import TraceEstimate

Progress = Callable[[str, int, int], None]

_LEAST_PROBES = {"probes": 2, "hutch++": 6, "xtrace": 4}
_FULL = ""  # no parameter has this name

_log = logging.getLogger(__name__)


def analyze(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    layers: LayerSelection = WEIGHTS,
    curvature: str = "hessian",
    probes: int = 8,
    traces: str = "probes",
    exact: bool = False,
    lanczos_steps: int = 20,
    densities: int | LayerSelection | None = None,
    density_runs: int = 1,
    accuracy: float = 0.01,
    graph_samples: int = 32,
    seed: int = 0,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Estimate trace, extreme eigenvalues and spectral density of the loss's curvature, full and for each layer.

    The model is left as found: modes, buffers, gradients and the global random state. Weight decay is no part of
    the loss, so of no eigenvalue. In a process group every process gives batches of its own, and all get the same
    report of all samples.

    Args:
        model: Any module; its parameters that require grad and that the loss depends on make the full Hessian.
        loss: Takes the model's outputs and the targets, returns the mean over the batch; twice differentiable.
        batches: Pairs of inputs and targets, read again for every product, so the same every time (a list).
            Batches count by their samples.
        layers: `weights`, patterns or a function; see `longtail.hessian.layers.select`. A layer is one parameter.
        curvature: `hessian`; `ggn`, its Gauss-Newton part J^T S J, never negative; or `residual`, the rest.
        probes: Random probes of every trace, drawn afresh for every few samples; products in all for the other ways.
        traces: `probes`, by `longtail.hessian.block_traces`; `hutch++` or `xtrace`, more exact for the same products
            where few eigenvalues make the trace, see `longtail.hessian.low_rank_traces`.
        exact: Find all eigenvalues of the blocks that are Gauss-Newton blocks, if samples times outputs are at most
            2,048; see `longtail.hessian.gram`. It takes as many backward passes. Other blocks take Lanczos.
        lanczos_steps: Most products of a Lanczos run. 20 give the top eigenvalue to a few digits; look at its
            residual.
        densities: Layers whose spectral density is wanted, or how many, spread over depth; by default all. The whole
            network's always is. Runs for the others end as soon as their top eigenvalue is known.
        density_runs: Lanczos runs from independent starts, averaged in the density, side by side on one graph.
        accuracy: Relative error of the top eigenvalue at which a run for a layer without density may end.
        graph_samples: Samples whose twice differentiable graph is in memory at once, a batch's at most. A single batch
            that fits keeps its graph between products, which spares a tenth of the time; if the loss is not the mean
            over its samples, batches stay whole.
        seed: Of all random numbers; the same seed at every checkpoint makes differences less noisy than values.
        journal: Folder for products and probes as they are done: the same call after a kill goes on there. It is
            removed at the end. Each process needs its own.
        progress: Called with the phase (`spectra`, then `traces`), what is done and the total.

    Returns:
        The report. Layers the loss does not depend on have zero curvature.

    Raises:
        InputError: If the settings, the batches, the loss or the selection are unusable.
        RuntimeError: If the loss is not finite, or the batches change from pass to pass.
    """
    settings = _Settings(curvature, probes, traces, exact, lanczos_steps, density_runs, accuracy, graph_samples, seed)
    settings.check()
    model = getattr(model, "_orig_mod", model)  # of a compiled model, the module without compilation
    candidates = trainable(model)
    names = select(candidates, layers)
    chosen = names if densities is None else _chosen(candidates, names, densities)
    with isolated(model):
        objective = measure(model, loss, batches, candidates).in_parts(graph_samples)
        blocks = {_FULL: list(objective.parameters), **{name: [name] for name in names if name in objective.parameters}}
        question = [list(blocks), chosen, astuple(settings), objective.sizes, objective.losses]
        kept = Journal(journal, digest(model, question) if journal else "")
        operator = BlockOperator(objective, blocks, curvature)
        reports, cost = _blocks(operator, {_FULL, *chosen}, settings, kept, progress or (lambda *_: None))
        kept.close()
    _log.info("analysed %d blocks of %d samples, cost %.0f gradients", len(blocks), objective.samples, cost)
    unused = {name: _no_curvature(candidates[name].numel(), lanczos_steps) for name in names if name not in reports}
    return Report(
        full=reports[_FULL],
        layers={name: (reports | unused)[name] for name in names},
        samples=objective.samples,
        loss=objective.mean_loss,
        cost=cost,
        seed=seed,
        curvature=curvature,
    )


@dataclass(frozen=True)
class _Settings:
    """How blocks are analysed; see `analyze`."""

    curvature: str
    probes: int
    traces: str
    exact: bool
    lanczos_steps: int
    density_runs: int
    accuracy: float
    graph_samples: int
    seed: int

    def check(self) -> None:
        """Raise if a setting is below its least value, or a choice unknown."""
        for name, value, allowed in (
            ("curvature", self.curvature, CURVATURES),
            ("traces", self.traces, _LEAST_PROBES),
        ):
            if value not in allowed:
                raise InputError(f"{name} is {value!r}: choose from {', '.join(allowed)}")
        least_values = {"probes": _LEAST_PROBES[self.traces], "lanczos_steps": 1, "density_runs": 1, "graph_samples": 1}
        for name, least in least_values.items():
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)} is too small: give {least} or more")


def _chosen(candidates: dict[str, nn.Parameter], names: Sequence[str], densities: int | LayerSelection) -> list[str]:
    """Return the layers whose density is wanted: a number of them spread over depth, or a selection."""
    if not isinstance(densities, int):
        return [name for name in select(candidates, densities) if name in names]
    places = np.linspace(0, len(names) - 1, min(densities, len(names))).round().astype(int)
    return [names[i] for i in np.unique(places)]


def _blocks(
    operator: BlockOperator, dense: Set[str], settings: _Settings, journal: Journal, progress: Progress
) -> tuple[dict[str, LayerReport], float]:
    """Return the report of each block, and what they cost together in gradients."""
    objective, blocks = operator.objective, operator.blocks
    spectra = _exact_spectra(operator, settings) if settings.exact else {}
    cost = 2 / 3 * gram_size(objective) / objective.samples if spectra else 0.0
    rest = BlockOperator(
        objective, {block: names for block, names in blocks.items() if block not in spectra}, settings.curvature
    )
    spectra |= iterative_spectra(
        rest,
        dense,
        steps=settings.lanczos_steps,
        runs=settings.density_runs,
        accuracy=settings.accuracy,
        seed=settings.seed,
        journal=journal,
        progress=lambda done, total: progress("spectra", done, total),
    )
    sums = _traces(operator, settings, journal, lambda done, total: progress("traces", done, total))
    reports = {
        block: _layer_report(
            operator.like(block).numel(), sums.estimates[block], sums.first_order.issuperset(names), spectra[block]
        )
        for block, names in blocks.items()
    }
    return reports, cost + sums.cost + _lanczos_cost(rest, spectra, settings.density_runs)


def _exact_spectra(operator: BlockOperator, settings: _Settings) -> dict[str, BlockSpectrum]:
    """Return the spectra of the blocks that are Gauss-Newton blocks, if there are few enough rows.

    Of the Hessian that is a single parameter: between two of them there is a residual part.
    """
    objective = operator.objective
    if gram_size(objective) > MOST_ROWS or torch.distributed.is_initialized():
        return {}
    served = gauss_newton_parameters(objective, operator.curvature, settings.seed)[:1]  # at the outputs
    blocks = {
        block: names
        for block, names in operator.blocks.items()
        if operator.curvature == "ggn" or (len(names) == 1 and served and names[0] in served[0])
    }
    try:
        values = gram_eigenvalues(objective, blocks) if blocks else {}
    except InputError as error:  # a loss or a network that couples samples
        _log.warning("no exact spectra: %s", error)
        return {}
    return {
        block: exact_spectrum(values[block], operator.like(block).numel(), settings.lanczos_steps) for block in blocks
    }


def _traces(
    operator: BlockOperator, settings: _Settings, journal: Journal, progress: Callable[[int, int], None]
) -> BlockTraces:
    """Return the trace of each block in the way asked for."""
    traces, probes, seed = settings.traces, settings.probes, settings.seed
    if traces == "probes":
        return block_traces(
            operator.objective, operator.blocks, probes, seed, progress, journal, curvature=operator.curvature
        )
    done = iter(range(probes + 1))

    def products(vectors: dict[str, Tensor]) -> Mapping[str, Tensor]:
        number, blocks = next(done), list(operator.blocks)
        stored = journal.result(f"{traces}-{number}", lambda: operator.numbered(vectors, blocks, lambda key: key))
        progress(number + 1, probes)
        return {key: stored[str(blocks.index(key))].to(vector) for key, vector in vectors.items()}

    estimate = hutch_plus_plus if traces == "hutch++" else xtrace
    like = {block: operator.like(block) for block in operator.blocks}
    estimates = estimate(products, like, probes, torch.Generator().manual_seed(seed))
    cost = probes * sum(block_cost(operator.objective, names) for names in operator.blocks.values())
    return BlockTraces(estimates, frozenset(), cost)


def _lanczos_cost(operator: BlockOperator, spectra: Mapping[str, BlockSpectrum], runs: int) -> float:
    """Return the cost of sketches, products, and their graphs: one graph in all for a single batch, else one a step."""
    objective, steps = operator.objective, [spectra[block].products for block in operator.blocks]
    products = sum(
        count * block_cost(objective, names) * (1 if spectra[block].density is None else runs)
        for count, (block, names) in zip(steps, operator.blocks.items(), strict=True)
    )
    graphs = 1 if len(objective.sizes) == 1 else max(steps, default=0)
    sketched = operator.curvature != "residual" and any(spectra[block].density is None for block in operator.blocks)
    return products + graphs + (sketch_cost(objective.samples) if sketched else 0.0)


def _no_curvature(parameters: int, steps: int) -> LayerReport:
    """Return the report of parameters that the loss does not depend on."""
    return _layer_report(
        parameters, TraceEstimate(0.0, 0.0, 0.0), True, exact_spectrum(np.array([]), parameters, steps)
    )


def _layer_report(parameters: int, trace: TraceEstimate, first_order: bool, spectrum: BlockSpectrum) -> LayerReport:
    """Return a block's numbers gathered."""
    return LayerReport(
        parameters=parameters,
        trace=trace.value if spectrum.trace is None else spectrum.trace,
        trace_stderr=trace.stderr if spectrum.trace is None else 0.0,
        trace_sampling_stderr=trace.sampling_stderr,
        top_eigenvalue=spectrum.top,
        top_residual=spectrum.top_residual,
        lowest_eigenvalue=spectrum.lowest,
        lowest_residual=spectrum.lowest_residual,
        effective_rank=spectrum.effective_rank,
        outliers=spectrum.outliers,
        first_order=first_order,
        exact=spectrum.exact,
        lanczos_steps=spectrum.products,
        density=spectrum.density,
    )
