"""One MLflow run to write to, which goes on in a store on disk when the tracking server fails."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from longtail.tracking.attempts import persistently
from longtail.tracking.offline import Belonging, OfflineStore
from longtail.tracking.redaction import redact
from longtail.tracking.server import tracking_mode

_LOGGER = logging.getLogger(__name__)
_VALUE_CHARACTERS = 6000
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_DIGEST_CHARACTERS = 36
"""MLflow's limit; 36 hex digits are 144 bits of a SHA-256."""

Result = TypeVar("Result")


class TrackingError(RuntimeError):
    """The tracking server failed and LONGTAIL_TRACKING=strict asked for that to be an error."""


class Located(NamedTuple):
    """An `MlflowClient` and the run that it shall write to."""

    client: Any
    run_id: str
    experiment_id: str


class Run:
    """An MLflow run. Its methods never raise for a failing server unless LONGTAIL_TRACKING=strict.

    Attributes:
        run_id: The run's id, in its store on disk once the server failed; empty if there is neither.
        experiment_id: Its experiment, likewise.
    """

    def __init__(self, locate: Callable[[], Located], belonging: Belonging | None = None) -> None:
        """Find or start the run.

        Args:
            locate: Connects and returns the client and the ids; may raise anything, and is called again while the
                server is away.
            belonging: What a store on disk says of the run; without it, nothing is recorded once the server failed.
        """
        self._client: Any = None
        self._belonging = belonging
        self._offline: OfflineStore | None = None
        self._failed = False
        self._warned_not_finite = False
        self.run_id = ""
        self.experiment_id = ""
        try:
            self._client, self.run_id, self.experiment_id = persistently(locate)
        except Exception as error:
            self._fail("start a run", error)

    @classmethod
    def silent(cls) -> "Run":
        """Return a run that records nothing: for all but the first process of a data-parallel step."""
        run = cls.__new__(cls)
        run._client, run._failed, run._warned_not_finite = None, True, True
        run._belonging = run._offline = None
        run.run_id = run.experiment_id = ""
        return run

    @property
    def is_on_server(self) -> bool:
        """Whether the run is on the tracking server, and that has not failed."""
        return bool(self.run_id) and not self._failed

    def attempt(self, what: str, call: Callable[[Any], Result]) -> Result | None:
        """Call the server unless it failed before; while it is away, call again for a bounded time.

        Args:
            what: What is attempted, for the warning: "could not ...".
            call: Gets the `MlflowClient`; carried out twice, it must leave what once leaves.

        Returns:
            What `call` returns; None if it failed, was not called, or was carried out on disk alone.

        Raises:
            TrackingError: If it failed and LONGTAIL_TRACKING=strict.
        """
        if not self._failed:
            try:
                return persistently(lambda: call(self._client))
            except Exception as error:
                self._fail(what, error)
        if self._offline is not None:
            try:
                call(self._client)
            except Exception as error:
                _LOGGER.warning("not recorded on disk either: could not %s (%s)", what, _reason(error))
        return None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers in one request for each 1,000; values that are not finite are left out.

        Args:
            metrics: Value by name, such as `val/accuracy_few`.
            step: Epoch or iteration; None for numbers that have only one value.
        """
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if len(finite) < len(metrics) and not self._warned_not_finite:
            self._warned_not_finite = True
            _LOGGER.warning(
                "metrics that are not finite are not logged: %s", ", ".join(sorted(metrics.keys() - finite))
            )
        now = int(time.time() * 1000)  # the same at every attempt, by which MLflow knows an entry again

        def log(client: Any) -> None:
            from mlflow.entities import Metric

            entries = [Metric(name, value, now, step or 0) for name, value in finite.items()]
            log_metric_entries(client, self.run_id, entries)

        self.attempt("log metrics", log)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings, nested ones under dotted names, without secrets, cut at 6,000 characters a value."""

        def log(client: Any) -> None:
            from mlflow.entities import Param

            entries = [Param(name, _text(value)) for name, value in _flatten(redact(params))]
            for batch in _batches(entries, _PARAMS_PER_BATCH):
                client.log_batch(self.run_id, params=batch)

        self.attempt("log parameters", log)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, without secrets; an earlier value is replaced."""

        def log(client: Any) -> None:
            from mlflow.entities import RunTag

            entries = [RunTag(name, _text(value)) for name, value in _flatten(redact(tags))]
            for batch in _batches(entries, _PARAMS_PER_BATCH):
                client.log_batch(self.run_id, tags=batch)

        self.attempt("set tags", log)

    def log_figure(self, figure: Any, file_name: str) -> None:
        """Store a matplotlib figure as an image such as `spectrum.png`."""
        self.attempt("store a figure", lambda client: client.log_figure(self.run_id, figure, file_name))

    def log_text(self, text: str, file_name: str) -> None:
        """Store text, such as an HTML report, as a file."""
        self.attempt("store a text", lambda client: client.log_text(self.run_id, text, file_name))

    def log_json(self, value: Any, file_name: str) -> None:
        """Store a value as a JSON file, without secrets."""
        self.log_text(json.dumps(redact(value), indent=1), file_name)

    def log_dataset(self, name: str, digest: str, context: str, source: str) -> None:
        """Log what the run read, by digest; the data itself stays where it is.

        Args:
            name: Name of the data set.
            digest: SHA-256 of its manifest, hex. MLflow shows the first 36 digits; all are in the input's tag
                `longtail.digest`.
            context: `training`, `validation` or `test`.
            source: Its path or URI.
        """

        def log(client: Any) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            place = redact(source)
            scheme, separator, _ = place.partition("://")
            kind = scheme if separator and scheme in {"s3", "gs", "http", "https"} else "local"
            address = {"url": place} if kind.startswith("http") else {"uri": place}
            dataset = Dataset(name, digest[:_DIGEST_CHARACTERS], kind.replace("https", "http"), json.dumps(address))
            tags = [InputTag("mlflow.data.context", context), InputTag("longtail.digest", digest)]
            client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

        self.attempt("log a data set", log)

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED; tried even after a failure, as the server may be back."""
        if not self.run_id:
            return
        try:
            end = partial(self._client.set_terminated, self.run_id, status, int(time.time() * 1000))
            end() if self._failed else persistently(end)
        except Exception as error:
            # A step that failed has its own error to show.
            if status == "FINISHED" and not self._failed:
                self._fail("end the run", error)
                if self._offline is not None:
                    self.end(status)
            return
        if self._offline is not None:
            self._offline.close()

    def _fail(self, what: str, error: Exception) -> None:
        """Say it once, and go on in a store on disk."""
        if tracking_mode() == "strict":
            raise TrackingError(f"tracking could not {what} ({_reason(error)})") from None
        self._failed = True
        if self._belonging is not None:
            try:
                self._go_offline(self._belonging)
            except Exception as other:
                _LOGGER.warning("no store on disk for the run either (%s)", _reason(other))
        kept = (
            f"the run goes on in {self._offline.path}: `longtail sync` sends it when the server is back"
            if self._offline is not None
            else "this run is tracked no further, its results stay in the step's artifacts"
        )
        _LOGGER.warning(
            "tracking could not %s (%s): %s; LONGTAIL_TRACKING=strict makes this an error", what, _reason(error), kept
        )

    def _go_offline(self, belonging: Belonging) -> None:
        if self.run_id:
            identity = replace(belonging.identity, run_id=self.run_id)
            belonging = replace(belonging, identity=identity, experiment_id=self.experiment_id)
        store = OfflineStore(belonging)
        self._offline, self._client = store, store.client
        self.run_id, self.experiment_id = store.run_id, store.experiment_id


def log_metric_entries(client: Any, run_id: str, entries: Sequence[Any]) -> None:
    """Log `mlflow.entities.Metric`s, in requests of 1,000; one that the run has already changes nothing."""
    for batch in _batches(entries, _METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=batch)


def _reason(error: Exception) -> str:
    return " ".join(str(redact(f"{type(error).__name__}: {error}")).split())[:500]


def _batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings under dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:_VALUE_CHARACTERS]
