"""`longtail check` and `longtail retrain`: is there a reason to train a champion again, and if so, one run."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from longtail.config import PipelineConfig
from longtail.drift.reasons import Drift, page
from longtail.errors import InputError
from longtail.settings import resolve
from longtail.tracking.registry import Version
from longtail.tracking.retraining import claim, note_run, withdraw
from longtail.tracking.run import check_tracking_server, home, tracking_uri
from pipelines.compile import AddSettings
from pipelines.kubeflow import UnreachableError, add_connection
from pipelines.submit import add_run, submitted

REASON = 3
"""Exit code of a check that found a reason."""


def add_retraining(commands: Any, add_settings: AddSettings) -> None:
    """Add the subcommands `check` and `retrain`."""
    check = commands.add_parser(
        "check", help="tell whether there is a reason to train a model again; exit code 3 if so"
    )
    _add_model(check, add_settings)
    check.add_argument("--json", action="store_true", help="print the comparison as JSON")
    check.set_defaults(command=_check)
    retrain = commands.add_parser("retrain", help="train a model again if there is a reason, and let the gate decide")
    _add_model(retrain, add_settings)
    add_start(retrain)
    retrain.add_argument("--force", action="store_true", help="train without a reason, and whatever was started before")
    retrain.add_argument(
        "--policy", default="", metavar="FILE", help="YAML laid over the policy of each step (default: LONGTAIL_POLICY)"
    )
    add_run(retrain)
    retrain.add_argument("--name", default="", help="name of the run on Kubeflow (default: the version and the time)")
    retrain.add_argument("--wait", action="store_true", help="follow a run on Kubeflow to its end")
    add_connection(retrain)
    retrain.set_defaults(command=_retrain, grid=[], seeds="")


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add the options that say when and from what a training with a reason starts."""
    parser.add_argument(
        "--cooldown", default="24h", help="no second training this soon, such as 90m or 7d (default: %(default)s)"
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="train new weights instead of going on from the champion's"
    )


def cooldown_seconds(arguments: argparse.Namespace) -> int:
    """Return the seconds of `--cooldown`.

    Raises:
        InputError: If it is no duration.
    """
    from pipelines.policy import seconds

    try:
        return seconds(arguments.cooldown)
    except ValueError:
        raise InputError(f"--cooldown {arguments.cooldown!r} is no duration: give one such as 90m, 24h or 7d") from None


def retraining_config(arguments: argparse.Namespace) -> PipelineConfig:
    """Return the settings of a retraining of `--model`.

    Raises:
        InputError: If a setting is wrong, or the run would start from features.
    """
    config = resolve(arguments.preset, [*arguments.set, f"promotion.model={arguments.model}"], arguments.data)
    if config.start != "images":
        raise InputError(f"preset {arguments.preset!r} starts from features: drift is measured on images")
    return config


def _add_model(parser: argparse.ArgumentParser, add_settings: AddSettings) -> None:
    parser.add_argument("--model", required=True, help="name of the registered model, as promotion.model of its runs")
    add_settings(parser)
    parser.set_defaults(table="")


def _compared(arguments: argparse.Namespace) -> tuple[PipelineConfig, Version, Drift]:
    from longtail.steps.drift_check import champion_of, drift_of

    config = retraining_config(arguments)
    check_tracking_server(tracking_uri())
    version = champion_of(arguments.model)
    return config, version, drift_of(version, config.data, config.drift, config.seed)


def _check(arguments: argparse.Namespace) -> int:
    _, version, drift = _compared(arguments)
    if arguments.json:
        print(json.dumps(drift.to_dict(), indent=1))
    else:
        print(drift.sentence)
        print(f"page        {_written(drift, version)}")
    return REASON if drift.needed else 0


def _written(drift: Drift, version: Version) -> Path:
    """Return the page of a comparison, which is written."""
    path = home() / "checks" / f"{version.name}-{version.number}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(drift), encoding="utf-8")
    return path


def _retrain(arguments: argparse.Namespace) -> int:
    cooldown = cooldown_seconds(arguments)
    config, version, drift = _compared(arguments)
    print(drift.sentence)
    if not drift.needed and not arguments.force:
        return 0
    print(f"page        {_written(drift, version)}")
    overrides = [f"promotion.model={arguments.model}"]
    if not arguments.from_scratch:
        overrides += _weights(config, version, drift)
    reason = drift.sentence if drift.needed else f"Forced. {drift.sentence}"
    start = claim(arguments.model, drift.digest_now, reason, cooldown=cooldown, force=arguments.force)
    if not start.allowed:
        print(f"{start.sentence} Nothing is started.")
        return 0
    arguments.set = [*arguments.set, *overrides]
    code = _started(arguments)
    if code:
        withdraw(arguments.model)
    return code


def _weights(config: PipelineConfig, version: Version, drift: Drift) -> list[str]:
    """Return the setting that lets the training go on from the champion, if that fits, after saying so."""
    from longtail.steps.drift_check import going_on_from

    backbone, note = going_on_from(version, config.backbone, drift.class_names)
    print(note)
    return [] if backbone == config.backbone else [f"backbone.weights={backbone.weights}"]


def _started(arguments: argparse.Namespace) -> int:
    """Return the exit code of a run, on Kubeflow 0 as soon as it is started unless it is waited for."""
    from pipelines.runs import follow

    try:
        if not arguments.host:
            return _here(arguments)
        kubeflow, run_id = submitted(arguments)
    except UnreachableError:
        raise  # it may have been started all the same
    except BaseException:
        withdraw(arguments.model)
        raise
    note_run(arguments.model, run_id)
    return follow(kubeflow, run_id) if arguments.wait else 0


def _here(arguments: argparse.Namespace) -> int:
    """Return the exit code of a run on this machine."""
    from pipelines.local import StepError, run_locally

    try:
        result = run_locally(resolve(arguments.preset, arguments.set, arguments.data))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        print(f"everything the steps printed: {error.log}", file=sys.stderr)
        return 1
    note_run(arguments.model, result.run_id)
    print(f"\n{result.table}\n")
    print(f"page        {result.page}")
    print(f"run         {result.run_id}")
    return 0
