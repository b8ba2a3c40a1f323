"""Finished pipeline runs, read back from MLflow with what their steps logged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from longtail.errors import InputError
from longtail.tracking.identity import PARENT_TAG, PIPELINE_TAG, SWEEP_TAG
from longtail.tracking.redaction import redact
from longtail.tracking.server import check_tracking_server, connect, sqlite_file

_PAGE = 1000


@dataclass(frozen=True)
class StepRecord:
    """What a step logged, wherever its result was computed.

    Attributes:
        metrics: Last value of each metric, by name.
        datasets: Digest of each data set it logged, by name.
        seconds: What its work took, over all epochs and attempts; None if that was not logged.
    """

    metrics: Mapping[str, float]
    datasets: Mapping[str, str]
    seconds: float | None


@dataclass(frozen=True)
class PipelineRecord:
    """A pipeline's run that finished.

    Attributes:
        run_id: Its MLflow id.
        params: Its settings as text, under dotted names.
        metrics: Last value of each metric, by name.
        steps: Its steps by label, such as `classifier_retraining/crt`.
    """

    run_id: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    steps: Mapping[str, StepRecord]


def finished_pipelines(uri: str, params: Mapping[str, str]) -> Iterator[PipelineRecord]:
    """Yield the pipeline runs of a tracking server that finished, those of sweeps too, oldest first.

    Args:
        uri: The tracking server; a database file must be there already.
        params: Settings, as text, that a run must have.

    Raises:
        InputError: If the server cannot be read.
    """
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise InputError(f"tracking server {uri!r}: there is no {file}; give the database that the runs were logged to")
    check_tracking_server(uri)
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    try:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        wanted = ["attributes.status = 'FINISHED'", f"tags.`{PIPELINE_TAG}` LIKE '%'"]
        wanted += [f"params.`{name}` = '{value}'" for name, value in params.items()]
        for run in _runs(client, experiments, " and ".join(wanted)):
            if run.data.tags.get(PARENT_TAG) == run.data.tags.get(SWEEP_TAG):
                steps = _steps(client, run)
                yield PipelineRecord(run.info.run_id, dict(run.data.params), dict(run.data.metrics), steps)
    except MlflowException as error:
        reason = " ".join(str(redact(str(error))).split())[:300]
        raise InputError(f"tracking server {redact(uri)!r} cannot be read: {reason}") from None


def _runs(client: Any, experiments: list[str], wanted: str) -> Iterator[Any]:
    """Yield all runs that a filter matches, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            experiments, wanted, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _steps(client: Any, pipeline: Any) -> dict[str, StepRecord]:
    """Return the steps of a pipeline's run; of a step that was tried again, the last try."""
    wanted = f"tags.`{PARENT_TAG}` = '{pipeline.info.run_id}' and attributes.status = 'FINISHED'"
    return {
        run.data.tags.get("longtail.step", run.info.run_name): _step(client, run)
        for run in _runs(client, [pipeline.info.experiment_id], wanted)
    }


def _step(client: Any, run: Any) -> StepRecord:
    """Return a step's record; a result from the cache has the data sets and epochs of the run that computed it."""
    from mlflow.exceptions import MlflowException

    metrics = dict(run.data.metrics)
    if source := run.data.tags.get("longtail.source_run_id"):
        try:
            run = client.get_run(source)
        except MlflowException:
            return StepRecord(metrics, {}, _seconds(metrics))
    inputs = run.inputs.dataset_inputs if run.inputs else []
    datasets = {
        entry.dataset.name: {tag.key: tag.value for tag in entry.tags}.get("longtail.digest", entry.dataset.digest)
        for entry in inputs
    }
    return StepRecord(metrics, datasets, _seconds(metrics, client, run.info.run_id))


def _seconds(metrics: Mapping[str, float], client: Any = None, run_id: str = "") -> float | None:
    """Return the sum of all `…/total_seconds`; where there is none, of `…/seconds` if every epoch is in the run."""
    names = [name.rpartition("/") for name in metrics]
    prefixes = {prefix for prefix, _, name in names if name in {"seconds", "total_seconds"}}
    total = 0.0
    for prefix in prefixes:
        if (seconds := metrics.get(f"{prefix}/total_seconds")) is None:
            epochs = client.get_metric_history(run_id, f"{prefix}/seconds") if client else []
            # A run that resumed another one's training lacks the epochs before.
            if not epochs or sorted(entry.step for entry in epochs) != list(range(1, len(epochs) + 1)):
                return None
            seconds = sum(entry.value for entry in epochs)
        total += seconds
    return total if prefixes else None
