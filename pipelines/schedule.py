"""`longtail schedule`: the pipeline again and again, by a cron expression in a time zone."""

import argparse
import difflib
import sys
from collections import defaultdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from longtail.errors import InputError
from pipelines.compile import AddSettings, add_pipeline, compile_arguments, warn
from pipelines.cron import clock_change, in_utc, next_times, time_zone
from pipelines.kubeflow import Kubeflow, add_connection, connect
from pipelines.retrain import add_start, cooldown_seconds, retraining_config
from pipelines.submit import add_run, experiment_id, reference, runtime

SHOWN = 3


def add_schedule(commands: Any, add_settings: AddSettings) -> None:
    """Add the subcommand `schedule`."""
    parser = commands.add_parser("schedule", help="run the pipeline again and again on a Kubeflow Pipelines server")
    add_pipeline(parser, add_settings)
    add_run(parser)
    parser.add_argument("--name", default="longtail", help="name of the schedule; one of that name is replaced")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--cron", metavar="FIELDS", help='minute hour day month weekday, such as "0 3 * * 1"')
    action.add_argument("--list", action="store_true", help="show the schedules")
    action.add_argument("--delete", metavar="NAME", help="delete a schedule; the runs that it started stay")
    action.add_argument("--pause", metavar="NAME", help="switch a schedule off")
    action.add_argument("--resume", metavar="NAME", help="switch a schedule on; nothing that was missed is made up for")
    parser.add_argument(
        "--model", default="", help="train only if there is a reason against this registered model's champion"
    )
    add_start(parser)
    parser.add_argument("--timezone", default="UTC", help="zone of the hours, such as Europe/Berlin (default: UTC)")
    add_connection(parser)
    parser.set_defaults(command=_schedule)


def _schedule(arguments: argparse.Namespace) -> int:
    if arguments.cron:
        return _set(arguments)
    kubeflow = connect(arguments)
    if arguments.list:
        return _list(kubeflow)
    if arguments.delete:
        return _delete(kubeflow, arguments.delete)
    return _pause(kubeflow, arguments.pause) if arguments.pause else _resume(kubeflow, arguments.resume)


def _set(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    zone = time_zone(arguments.timezone)
    cron = in_utc(arguments.cron, zone, now)
    times = list(islice(next_times(cron, now), SHOWN))
    if not times:
        raise InputError(f"cron {arguments.cron!r} never comes: give days that a month has")
    # What lies at an address may have changed by the next time, so each run reads it again.
    documents, policy = _if_needed(arguments) if arguments.model else compile_arguments(arguments, fresh=True)
    kubeflow = connect(arguments)
    from pipelines.recurring import upsert
    from pipelines.versions import uploaded_version

    version = uploaded_version(kubeflow, documents)
    wanted = _recurring_run(kubeflow, arguments, cron, version, policy)
    run, changed = upsert(kubeflow, wanted)
    print(f"schedule    {arguments.name}  {run.recurring_run_id}  {'set' if changed else 'was already so'}")
    print(f"version     {version.display_name}")
    print(f"cron        {cron}  in UTC, for {arguments.cron} in {zone.key}")
    for label, moment in zip(("next", "then", ""), times, strict=False):
        print(f"{label:11} {moment.astimezone(zone):%a %Y-%m-%d %H:%M %Z}")
    print(f"page        {kubeflow.page(f'recurringrun/details/{run.recurring_run_id}')}")
    warn(documents)
    _warn_of_clock_change(arguments.cron, zone, now)
    return 0


def _if_needed(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], Any]:
    """Return the compiled pipeline that checks before it trains, and what the policy says of its runs."""
    from pipelines.policy_file import read_installation
    from pipelines.retraining_pipeline import retraining_specification

    if arguments.grid or arguments.seeds or arguments.table:
        raise InputError("--model trains one model of images again: leave out --grid, --seeds and --features")
    installation = read_installation(arguments.policy)
    documents = retraining_specification(
        retraining_config(arguments),
        cooldown=cooldown_seconds(arguments),
        from_scratch=arguments.from_scratch,
        installation=installation,
    )
    return documents, installation.run


def _recurring_run(kubeflow: Kubeflow, arguments: argparse.Namespace, cron: str, version: Any, policy: Any) -> Any:
    import kfp_server_api as api

    return api.V2beta1RecurringRun(
        display_name=arguments.name,
        description=f"{arguments.cron} in {arguments.timezone}",
        experiment_id=experiment_id(kubeflow, arguments.experiment),
        pipeline_version_reference=reference(version),
        runtime_config=runtime(policy),
        service_account=policy.service_account or None,
        namespace=kubeflow.namespace,
        max_concurrency="1",
        no_catchup=True,
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
    )


def _warn_of_clock_change(cron: str, zone: Any, now: datetime) -> None:
    change = clock_change(cron, zone, now)
    if change:
        direction = "later" if change.hours > 0 else "earlier"
        print(
            f"note: Kubeflow counts in UTC: from {change.moment.astimezone(zone):%Y-%m-%d} on the runs come "
            f"{abs(change.hours):g} h {direction} by the clock of {zone.key}; run this command again then",
            file=sys.stderr,
        )


def _list(kubeflow: Kubeflow) -> int:
    from pipelines.recurring import is_on, recurring_runs, unfinished

    by_name = defaultdict(list)
    for run in recurring_runs(kubeflow):
        by_name[run.display_name].append(run)
    for name, runs in sorted(by_name.items()):
        for run in runs:
            cron = run.trigger and run.trigger.cron_schedule and run.trigger.cron_schedule.cron
            print(f"{'on' if is_on(run) else 'off':4} {name}  {cron or 'no cron'}  ({run.description or 'no zone'})")
    broken = [name for name, runs in sorted(by_name.items()) if unfinished(runs)]
    for name in broken:
        print(
            f"{name}: a change of it was broken off: give the same `schedule` command again, or --delete {name}",
            file=sys.stderr,
        )
    return 1 if broken else 0


def _delete(kubeflow: Kubeflow, name: str) -> int:
    from pipelines.recurring import delete

    for run in _found(kubeflow, name):
        delete(kubeflow, run)
    print(f"schedule {name} is deleted")
    return 0


def _pause(kubeflow: Kubeflow, name: str) -> int:
    from pipelines.recurring import is_on, switch_off

    for run in _found(kubeflow, name):
        if is_on(run):
            switch_off(kubeflow, run)
    print(f"schedule {name} is off")
    return 0


def _resume(kubeflow: Kubeflow, name: str) -> int:
    from pipelines.recurring import switch_on, unfinished

    found = _found(kubeflow, name)
    if unfinished(found):
        raise InputError(f"{len(found)} schedules have the name {name!r}: give the `schedule` command again instead")
    switch_on(kubeflow, found[0])
    print(f"schedule {name} is on")
    return 0


def _found(kubeflow: Kubeflow, name: str) -> list[Any]:
    from pipelines.recurring import recurring_runs

    found = recurring_runs(kubeflow, name)
    if not found:
        names = sorted({run.display_name for run in recurring_runs(kubeflow)})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
        raise InputError(f"no schedule has the name {name!r}: {hint}")
    return found
