"""How busy the machine of a long step is: MLflow's own system metrics."""

from collections.abc import Generator
from contextlib import contextmanager

from longtail.tracking.recording import Run
from longtail.tracking.server import tracking_uri


@contextmanager
def system_metrics(run: Run) -> Generator[None]:
    """Log use of processor, memory, disk, network and GPU to a run while the block lasts, every ten seconds.

    Nothing is logged to a run that is not on the server; if the server is lost, MLflow says so once and stops.

    Args:
        run: A run that is not ended before the block.

    Yields:
        Nothing.
    """
    if not run.is_on_server:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # A step that was tried again goes on counting where the first attempt ended.
    monitor = SystemMetricsMonitor(run.run_id, resume_logging=True, tracking_uri=tracking_uri())
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
