"""A sweep on this machine: the pipeline at every point, one after the other, then one table over all of them."""

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longtail.artifacts import sha256_json
from longtail.config import PromotionConfig, SweepConfig, parse, to_dict
from longtail.errors import InputError
from longtail.tracking.redaction import redact
from pipelines.grid import Point, Sweep, add_grid, plan_arguments


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves.

    Attributes:
        table: Mean and standard deviation over seeds by method and setting; empty if no point ended.
        files: The table, the figures and the page.
        run_id: The MLflow run.
        executed: Labels of the steps that were computed, of all points.
        cached: Labels of the steps whose results were in the cache.
        failures: Why each point that failed did, by its label.
    """

    table: str
    files: tuple[Path, ...]
    run_id: str
    executed: tuple[str, ...]
    cached: tuple[str, ...]
    failures: dict[str, str]


class _IncompleteError(Exception):
    """A point failed, so that the sweep's run ends as failed."""


def run_sweep(sweep: Sweep) -> SweepResult:
    """Return the results of running the pipeline at every point of a sweep, of those that ended.

    Every step that an earlier point or an earlier run computed comes from the cache. No point registers a model.

    Raises:
        InputError: If the tracking server cannot be reached, the data cannot be read or the home cannot be written.
    """
    from longtail.tracking.run import check_tracking_server, sweep_run, tracking_uri
    from pipelines.local import Result, StepError, run_locally

    check_tracking_server(tracking_uri())
    _check_content(sweep)
    folder = _folder(sweep)
    ended: list[tuple[Point, Result]] = []
    failures: dict[str, str] = {}
    table, files, run_id = "", (), ""
    described = {"grid": sweep.grid, "seeds": sweep.seeds, "points": len(sweep.points)}
    with contextlib.suppress(_IncompleteError), sweep_run(sweep.title, described) as run:
        run_id = run.run_id
        for number, point in enumerate(sweep.points, start=1):
            print(f"point {number} of {len(sweep.points)}  {point.label}", file=sys.stderr, flush=True)
            try:
                own = replace(point.config, promotion=PromotionConfig())
                ended.append((point, run_locally(own, name=point.label, sweep=run.run_id)))
            except (InputError, StepError) as error:
                failures[point.label] = f"{error}; log: {error.log}" if isinstance(error, StepError) else str(error)
                print(f"failed: {failures[point.label]}", file=sys.stderr, flush=True)
        if ended:
            table, files = _summarise(sweep, ended, folder, run)
        if failures:
            raise _IncompleteError
    executed = tuple(label for _, result in ended for label in result.executed)
    cached = tuple(label for _, result in ended for label in result.cached)
    return SweepResult(table, files, run_id, executed, cached, failures)


def _check_content(sweep: Sweep) -> None:
    from pipelines.compiled import content_digest

    configs = [point.config for point in sweep.points]
    for config in {(config.start, config.data, config.table): config for config in configs}.values():
        content_digest(config)


def _folder(sweep: Sweep) -> Path:
    """Return the folder of the sweep's results, the same one whenever the same points are given."""
    from longtail.tracking.run import home

    folder = home() / "sweeps" / sha256_json([to_dict(point.config) for point in sweep.points])[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}): set LONGTAIL_HOME to another folder") from None
    return folder


def _summarise(sweep: Sweep, ended: list[tuple[Point, Any]], folder: Path, run: Any) -> tuple[str, tuple[Path, ...]]:
    """Return the table and all files of the summary, which is logged to the sweep's run."""
    from longtail.steps import sweep_summary
    from longtail.steps.execution import Context

    summary, page = folder / "summary", folder / "report.html"
    context = Context(
        inputs={"results": [result.results for _, result in ended]},
        outputs={"summary": summary, "report": page},
        seed=0,
        pipeline_seed=0,
        method="",
        run=run,
    )
    sweep_summary.run(parse(SweepConfig, sweep.summary(point for point, _ in ended), "sweep"), context)
    files = (summary / "table.csv", *sorted(summary.glob("*.png")), page)
    return (summary / "table.txt").read_text(encoding="utf-8").rstrip("\n"), files


def add_sweep(commands: Any, add_settings: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the subcommand `sweep`."""
    parser = commands.add_parser("sweep", help="run the pipeline over settings and seeds, and tabulate the accuracies")
    add_settings(parser)
    add_grid(parser)
    parser.set_defaults(command=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    if not arguments.grid and not arguments.seeds:
        raise InputError("nothing is swept: give --grid GROUP.KEY=V1,V2,… or --seeds 0,1,2")
    sweep = plan_arguments(arguments)
    from longtail.tracking.run import tracking_uri

    started = time.monotonic()
    result = run_sweep(sweep)
    if result.table:
        seeds = ", ".join(map(str, sweep.seeds))
        spread = f": mean ± standard deviation over seeds {seeds}" if len(sweep.seeds) > 1 else f", seed {seeds}"
        print(f"\nAccuracy on the test set, %, by training images of a class{spread}\n\n{result.table}\n")
    computed, cached = len(result.executed), len(result.cached)
    ended = len(sweep.points) - len(result.failures)
    share = f"{ended} of {len(sweep.points)} points" if result.failures else f"{ended} points"
    print(f"{share}, {computed + cached} steps, {cached} from the cache, {time.monotonic() - started:.1f} s")
    if computed:
        counted = Counter(result.executed)
        print(f"computed    {', '.join(f'{label} {number}' for label, number in sorted(counted.items()))}")
    for file in result.files:
        print(f"{ {'.csv': 'table', '.png': 'figure'}.get(file.suffix, 'page'):11} {file}")
    print(f"MLflow      {redact(tracking_uri())}  run {result.run_id}")
    print(f"to look     {sys.argv[0]} ui")
    if result.failures:
        print(f"error: {len(result.failures)} of {len(sweep.points)} points failed", file=sys.stderr)
        for label, message in result.failures.items():
            print(f"{label}: {message}", file=sys.stderr)
        print("finished steps are kept: run the same command again to go on from here", file=sys.stderr)
        return 1
    return 0
