"""What a pipeline's run says of steps and models that other runs made."""

import logging
import time
from typing import Any

from longtail.tracking.attempts import create_run, is_outage, new_key
from longtail.tracking.recording import Run
from longtail.tracking.run import PARENT_TAG

_LOGGER = logging.getLogger(__name__)


def record_cached_step(parent: Run, step: str, source_run_id: str) -> None:
    """Record a step that was not executed because its result was in the cache.

    Args:
        parent: The pipeline's run, which gets a finished child.
        step: The step's name.
        source_run_id: The run that once computed the result; its metrics are copied if it can still be read.
    """
    key, now = new_key(), int(time.time() * 1000)

    def record(client: Any) -> None:
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        tags = {
            PARENT_TAG: parent.run_id,
            "longtail.step": step,
            "longtail.cached": "true",
            "longtail.source_run_id": source_run_id,
        }
        child = create_run(client, parent.experiment_id, key, name=step, tags=tags)
        try:
            metrics = client.get_run(source_run_id).data.metrics if source_run_id else {}
        except MlflowException as error:
            if is_outage(error):
                raise
            _LOGGER.info("the run %s of the cached step %s is gone: its metrics are not copied", source_run_id, step)
            metrics = {}
        entries = [Metric(name, value, now, 0) for name, value in metrics.items()]
        client.log_batch(child, metrics=entries)
        client.set_terminated(child, "FINISHED")

    parent.attempt("record a cached step", record)


def logged_models(run: Run, source_run_id: str) -> list[str]:
    """Return the URIs of the models that another run logged, `models:/…`; none if it is gone."""

    def search(client: Any) -> list[str]:
        from mlflow.exceptions import MlflowException

        try:
            outputs = client.get_run(source_run_id).outputs if source_run_id else None
        except MlflowException as error:
            if is_outage(error):
                raise
            return []
        return [f"models:/{model.model_id}" for model in outputs.model_outputs] if outputs else []

    return run.attempt("find models", search) or []
