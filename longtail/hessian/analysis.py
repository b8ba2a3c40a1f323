"""Analyse the curvature of a network's loss: the whole network and layer by layer.

After Sankar et al. 2021, "A Deeper Look at the Hessian Eigenspectrum of Deep Neural Networks and its Applications to
Regularization" (arXiv 2012.03801). Unlike the authors' code: always in evaluation mode, Lanczos with full
reorthogonalisation, all layers' products from one graph, and traces with standard errors.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from longtail.errors import InputError
from longtail.hessian.block_traces import BlockTraces, block_cost, block_traces
from longtail.hessian.curvature import CURVATURES, BlockOperator
from longtail.hessian.density import spectral_density
from longtail.hessian.isolation import isolated
from longtail.hessian.lanczos import Spectrum, lanczos
from longtail.hessian.layers import WEIGHTS, LayerSelection, select, trainable
from longtail.hessian.operators import Batches, Loss, Objective, measure
from longtail.hessian.report import LayerReport, Report
from longtail.hessian.trace import TraceEstimate

Progress = Callable[[str, int, int], None]

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
    lanczos_steps: int = 20,
    density_runs: int = 1,
    seed: int = 0,
    tolerance: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Estimate trace, extreme eigenvalues and spectral density of the loss's curvature, full and for each layer.

    The model is left as found: modes, buffers, gradients and the global random state. Weight decay is no part of
    the loss, so of no eigenvalue.

    Args:
        model: Any module; its parameters that require grad and that the loss depends on make the full Hessian.
        loss: Takes the model's outputs and the targets, returns the mean over the batch; twice differentiable.
        batches: Pairs of inputs and targets, read again for every product, so the same every time (a list).
            Batches count by their samples. Memory is that of one batch's twice differentiable graph.
        layers: `weights`, patterns or a function; see `longtail.hessian.layers.select`. A layer is one parameter.
        curvature: `hessian`; `ggn`, its Gauss-Newton part J^T S J, never negative; or `residual`, the rest.
        probes: Random probes of every trace, drawn afresh for every few samples.
        lanczos_steps: Most products of a Lanczos run. 20 give the top eigenvalue to a few digits; look at its
            residual.
        density_runs: Lanczos runs from independent starts, averaged in the density, side by side on one graph.
        seed: Of all random numbers; the same seed at every checkpoint makes differences less noisy than values.
        tolerance: See `longtail.hessian.lanczos.lanczos`.
        progress: Called with the phase (`lanczos`, then `trace`), what is done and the total.

    Returns:
        The report. Layers the loss does not depend on have zero curvature.

    Raises:
        InputError: If the settings, the batches, the loss or the selection are unusable.
        RuntimeError: If the loss is not finite, or the batches change from pass to pass.
    """
    _check({"probes": (probes, 2), "lanczos_steps": (lanczos_steps, 1), "density_runs": (density_runs, 1)}, curvature)
    model = getattr(model, "_orig_mod", model)  # of a compiled model, the module without compilation
    candidates = trainable(model)
    names = select(candidates, layers)
    generator = torch.Generator().manual_seed(seed)
    report = progress or (lambda phase, done, total: None)
    with isolated(model):
        objective = measure(model, loss, batches, candidates)
        blocks = {_FULL: list(objective.parameters), **{name: [name] for name in names if name in objective.parameters}}
        spectra = _spectra(
            BlockOperator(objective, blocks, curvature),
            lanczos_steps,
            density_runs,
            generator,
            tolerance=tolerance,
            progress=lambda done, total: report("lanczos", done, total),
        )
        traces = block_traces(
            objective,
            blocks,
            probes,
            generator,
            lambda done, total: report("trace", done, total),
            curvature=curvature,
        )
    cost = traces.cost + _lanczos_cost(objective, blocks, spectra)
    _log.info("analysed %d blocks of %d samples, cost %.0f gradients", len(blocks), objective.samples, cost)
    reports = _layer_reports(
        blocks, {name: value.numel() for name, value in candidates.items()}, traces, spectra, lanczos_steps
    )
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


def _check(settings: dict[str, tuple[int, int]], curvature: str) -> None:
    """Raise if a setting is below its least value, or the curvature unknown."""
    if curvature not in CURVATURES:
        raise InputError(f"curvature is {curvature!r}: choose from {', '.join(CURVATURES)}")
    for name, (value, least) in settings.items():
        if value < least:
            raise InputError(f"{name}={value} is too small: give {least} or more")


def _spectra(
    operator: BlockOperator,
    steps: int,
    runs: int,
    generator: torch.Generator,
    *,
    tolerance: float | None,
    progress: Callable[[int, int], None],
) -> dict[str, list[Spectrum]]:
    """Return the Lanczos runs of each block, from Gaussian starts; all advance together over one graph a batch."""
    starts = {}
    for block in operator.blocks:
        like = operator.like(block)
        for run in range(runs):
            starts[block, run] = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)

    def products(vectors: Mapping[tuple[str, int], Tensor]) -> dict[tuple[str, int], Tensor]:
        return operator.products(vectors, lambda key: key[0])

    found = lanczos(products, starts, steps, tolerance=tolerance, progress=progress)
    return {block: [found[block, run] for run in range(runs)] for block in operator.blocks}


def _layer_reports(
    blocks: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    traces: BlockTraces,
    spectra: Mapping[str, Sequence[Spectrum]],
    steps: int,
) -> dict[str, LayerReport]:
    """Return the report of each block of parameters."""
    return {
        block: _layer_report(
            sum(sizes[name] for name in members),
            traces.estimates[block],
            traces.first_order.issuperset(members),
            spectra[block],
            steps,
        )
        for block, members in blocks.items()
    }


def _lanczos_cost(
    objective: Objective, blocks: Mapping[str, Sequence[str]], spectra: Mapping[str, Sequence[Spectrum]]
) -> float:
    """Return the cost of the products and of their graphs: one in all for a single batch, else one a step."""
    products = sum(
        len(run.values) * block_cost(objective, members) for block, members in blocks.items() for run in spectra[block]
    )
    steps = max(len(run.values) for runs in spectra.values() for run in runs)
    return products + (1 if len(objective.sizes) == 1 else steps)


def _no_curvature(parameters: int, steps: int) -> LayerReport:
    """Return the report of parameters that the loss does not depend on."""
    nothing = Spectrum(np.zeros(1), np.ones(1), np.zeros(1))
    return _layer_report(parameters, TraceEstimate(0.0, 0.0, 0.0), True, [nothing], steps)


def _layer_report(
    parameters: int, trace: TraceEstimate, first_order: bool, runs: Sequence[Spectrum], steps: int
) -> LayerReport:
    """Return a block's numbers gathered; the extreme eigenvalues are the most extreme of all runs."""
    top = max(runs, key=lambda run: float(run.values[-1]))
    lowest = min(runs, key=lambda run: float(run.values[0]))
    return LayerReport(
        parameters=parameters,
        trace=trace.value,
        trace_stderr=trace.stderr,
        trace_sampling_stderr=trace.sampling_stderr,
        top_eigenvalue=float(top.values[-1]),
        top_residual=float(top.residuals[-1]),
        lowest_eigenvalue=float(lowest.values[0]),
        lowest_residual=float(lowest.residuals[0]),
        first_order=first_order,
        lanczos_steps=max(len(run.values) for run in runs),
        density=spectral_density(runs, steps),
    )
