"""The command line: `longtail run`, `compile`, `submit`, `schedule`, `doctor`, `ui`, and one subcommand a step."""

import argparse
import functools
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longtail.config import to_dict
from longtail.errors import InputError
from longtail.settings import preset_names, resolve
from longtail.steps.registry import EVERY_STEP, FEATURE_STEPS, STEPS
from longtail.storage.client import is_url
from longtail.tracking.redaction import redact
from pipelines.claims import add_claims
from pipelines.compile import add_compile
from pipelines.doctor import add_doctor
from pipelines.pinned import pinned
from pipelines.predict import add_predict
from pipelines.promote import add_promote
from pipelines.results import add_results
from pipelines.retrain import add_retraining
from pipelines.runs import add_runs
from pipelines.schedule import add_schedule
from pipelines.submit import add_submit
from pipelines.sweep import add_sweep
from pipelines.sync import add_sync

_EXAMPLES = """examples:
  longtail run --preset digits
  longtail run --preset cifar100-lt --data PATH --set backbone.epochs=3
  longtail run --features embeddings.parquet
  longtail sweep --preset digits --grid calibration.n_neighbors=1,2,3,5 --seeds 0,1,2
  longtail compile --preset cifar100-lt --out longtail.yaml
  longtail submit --preset cifar100-lt --data s3://BUCKET/cifar100 --policy policy.yaml --wait
  longtail schedule --preset natural --data s3://BUCKET/photos --cron "0 3 * * 1" --timezone Europe/Berlin
  longtail predict --model NAME --data PATH --out predictions.parquet
  longtail retrain --model fish --preset natural --data s3://BUCKET/photos --cooldown 24h
  longtail promote plants --set promotion.overall_fall=2
  longtail doctor
  longtail ui
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 for a step that failed, 2 for bad input."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return int(arguments.command(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="longtail",
        description="Long-tailed image classification: Kubeflow pipelines, MLflow, calibrated sampling, curvature.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    run = commands.add_parser("run", help="run the whole pipeline on this machine")
    _add_settings(run, table=True)
    run.add_argument("--no-cache", action="store_true", help="compute every step again")
    run.add_argument(
        "--runner",
        choices=("subprocess", "docker"),
        default="subprocess",
        help="what a step runs in: a process, or a container of our image (Docker, or podman's socket in DOCKER_HOST)",
    )
    run.set_defaults(command=_run)
    with_table = functools.partial(_add_settings, table=True)
    add_sweep(commands, with_table)
    add_compile(commands, with_table)
    add_submit(commands, with_table)
    add_schedule(commands, with_table)
    add_retraining(commands, _add_settings)
    add_runs(commands)
    add_promote(commands)
    add_predict(commands)
    add_doctor(commands)
    add_sync(commands)
    ui = commands.add_parser("ui", help="open the MLflow pages of this machine's runs")
    ui.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1 (default: %(default)s)")
    ui.set_defaults(command=_ui)
    add_results(commands)
    add_claims(commands)
    _add_steps(commands)
    return parser


def _add_steps(commands: Any) -> None:
    for name, step in (STEPS | FEATURE_STEPS).items():
        command = commands.add_parser(name.replace("_", "-"), help=f"one step, from files: {step.summary}")
        for artifact in step.inputs:
            many = {"nargs": "+"} if artifact == "classifiers" else {}
            needed = artifact not in step.optional
            command.add_argument(
                f"--{artifact}", required=needed, metavar="DIR", help="input artifact, also s3://…", **many
            )
        command.add_argument("--out", required=True, metavar="DIR", help="folder, or s3://…, for what the step writes")
        if step.per_method:
            command.add_argument("--method", required=True, help="a retraining method, such as tailcalib")
        _add_settings(command, table=name == "feature_import")
        command.set_defaults(command=_step, step=name)


def _add_settings(parser: argparse.ArgumentParser, *, table: bool = False) -> None:
    parser.add_argument("--preset", default="", help=f"{', '.join(preset_names())}, or a YAML file (default: digits)")
    parser.add_argument("--data", default="", metavar="PATH", help="images: a local folder or s3://bucket/prefix")
    if table:
        parser.add_argument(
            "--features",
            default="",
            dest="table",
            metavar="FILE",
            help="Parquet of features, to start from these instead",
        )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as backbone.epochs=3"
    )


def _run(arguments: argparse.Namespace) -> int:
    config = pinned(resolve(arguments.preset, arguments.set, arguments.data, arguments.table))
    from longtail.tracking.run import tracking_uri
    from pipelines.local import StepError, run_locally

    started = time.monotonic()
    try:
        result = run_locally(config, use_cache=not arguments.no_cache, runner=arguments.runner)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        print(f"everything the steps printed: {error.log}", file=sys.stderr)
        print("finished steps are kept: run the same command again to go on from here", file=sys.stderr)
        return 1
    steps = len(result.executed) + len(result.cached)
    print(f"\nAccuracy on the test set, %, by training images of a class\n\n{result.table}\n")
    print(f"{result.curvature}\n")
    if result.promotion:
        print(f"{result.promotion}\n")
    print(f"{steps} steps, {len(result.cached)} from the cache, {time.monotonic() - started:.1f} s")
    print(f"results     {result.results}")
    print(f"page        {result.page}")
    print(f"step log    {result.log}")
    for name, uri in result.models.items():
        print(f"model       {uri}  {name}")
    print(f"MLflow      {redact(tracking_uri())}  run {result.run_id}")
    looks = [f"{sys.executable} -m webbrowser {result.page.as_uri()}", f"{sys.argv[0]} ui"]
    if config.promotion.model:
        looks.append(f"{sys.argv[0]} history {config.promotion.model}")
    print("\n".join(f"to look     {command}" for command in looks))
    return 0


def _ui(arguments: argparse.Namespace) -> int:
    from longtail.tracking.run import check_tracking_server, tracking_uri

    uri = tracking_uri()
    check_tracking_server(uri)
    if uri.startswith("http"):
        print(f"the runs are at {redact(uri)}")
        return 0
    mlflow = shutil.which("mlflow", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if mlflow is None:
        raise InputError("mlflow is not on PATH: activate the environment that Longtail is installed in")
    print(f"http://127.0.0.1:{arguments.port} shows {redact(uri)}; Ctrl-C ends it", flush=True)
    os.execv(mlflow, [mlflow, "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(arguments.port)])
    return 1


def _step(arguments: argparse.Namespace) -> int:
    from longtail.steps import Artifact, run_step
    from longtail.storage.artifacts import join
    from longtail.tracking.run import check_tracking_server, tracking_uri

    step = EVERY_STEP[arguments.step]
    preset = arguments.preset or ("features" if arguments.step in FEATURE_STEPS else "")
    config = resolve(preset, arguments.set, arguments.data, getattr(arguments, "table", ""))
    check_tracking_server(tracking_uri())
    inputs = {name: given for name in step.inputs if (given := getattr(arguments, name)) is not None}
    _check_places(inputs, arguments.out)
    outputs = {name: Artifact(join(arguments.out, name)) for name in step.outputs}
    if step.page:
        outputs["report"] = Artifact(join(arguments.out, f"{arguments.step}.html"))
    run_step(
        arguments.step,
        config=to_dict(getattr(config, step.group)),
        inputs={name: _artifacts(given) for name, given in inputs.items()},
        outputs=outputs,
        seed=config.seed,
        method=getattr(arguments, "method", ""),
    )
    for output in outputs.values():
        print(output.path)
    return 0


def _artifacts(value: Any) -> Any:
    from longtail.steps import Artifact

    if isinstance(value, list):
        return [_artifacts(place) for place in value]
    return Artifact(value if is_url(value) else str(Path(value).absolute()))


def _check_places(inputs: dict[str, Any], out: str) -> None:
    """Make the folder for outputs, and find out about stores that cannot be used before any work is done."""
    from longtail.storage.artifacts import check_place

    for place in (
        out,
        *(place for value in inputs.values() for place in (value if isinstance(value, list) else [value])),
    ):
        check_place(place)
    if is_url(out):
        return
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}): give another folder") from None


if __name__ == "__main__":
    sys.exit(main())
