"""Who starts a group of processes: `torchrun` here, or a job of the cluster."""

import dataclasses
from pathlib import Path

from longtail.artifacts import artifact_digest
from longtail.config import BackboneConfig, to_dict
from longtail.errors import InputError
from longtail.processes import handover
from longtail.processes.jobs import Job
from longtail.processes.request import FAILURE, Request, raise_failure
from longtail.processes.torchrun import run_here
from longtail.steps.execution import Context
from longtail.storage.client import is_url
from longtail.tracking.server import durable_place


def launch(config: BackboneConfig, context: Context, key: str) -> None:
    """Train the backbone by `config.processes` processes, to the end; the outputs are then there.

    Args:
        config: The recipe.
        context: Of the step.
        key: Digest of all that the training depends on; a job has its name from it.

    Raises:
        InputError: If a process found bad input, or there is no such launcher here.
        RuntimeError: If a process failed.
    """
    request = Request(
        to_dict(config),
        {name: str(Path(path).absolute()) for name, path in context.inputs.items()},
        {name: str(path.absolute()) for name, path in context.outputs.items()},
        context.seed,
        context.pipeline_seed,
        context.run.run_id,
    )
    if config.launcher == "torchrun":
        run_here(request, config.processes)
    else:
        _run_in_cluster(request, config, key[:32])


def _run_in_cluster(request: Request, config: BackboneConfig, key: str) -> None:
    """Carry out a request by a job, whose pods get the inputs from the checkpoints' store and put the outputs there."""
    store = durable_place().rstrip("/")
    if not is_url(store):
        raise InputError(
            f"backbone.launcher is {config.launcher!r}, which needs LONGTAIL_CHECKPOINTS=s3://... to reach its "
            "pods: set it, or use torchrun"
        )
    if Path(config.weights).is_file():
        raise InputError(f"backbone.weights is {config.weights!r}, a file that the pods do not have: use torchrun")
    place = f"{store}/jobs/{key}"
    inputs = {name: f"{place}/{name}-{artifact_digest(Path(path))[:16]}" for name, path in request.inputs.items()}
    outputs = {name: f"{place}/{name}" for name in request.outputs}
    failure = f"{place}/failure"
    job = Job(config.launcher, f"longtail-{key}")
    for name, path in request.inputs.items():
        handover.give(Path(path), inputs[name])
    handover.forget(failure)
    remote = dataclasses.replace(request, inputs=inputs, outputs=outputs)
    if not job.run(config.processes, remote.arguments, {FAILURE: failure}):
        raise_failure(handover.text(failure), f"the {config.launcher} of {config.processes} pods failed")
    for name, path in request.outputs.items():
        handover.take(outputs[name], Path(path))
