"""`longtail compile`, and the compiled pipeline that a command's options ask for."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.settings import resolve
from pipelines.grid import add_grid, plan_arguments
from pipelines.pinned import pinned

AddSettings = Callable[[argparse.ArgumentParser], None]


def add_compile(commands: Any, add_settings: AddSettings) -> None:
    """Add the subcommand `compile`."""
    parser = commands.add_parser("compile", help="write the pipeline as YAML for Kubeflow Pipelines")
    add_pipeline(parser, add_settings)
    parser.add_argument(
        "--format",
        choices=("pipeline", "kubernetes"),
        default="pipeline",
        help="pipeline: to upload (default); kubernetes: objects for kubectl apply",
    )
    parser.add_argument("--namespace", default="", help="namespace of the Kubernetes objects (default: none)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.yaml", help="file to write")
    parser.set_defaults(command=_compile)


def add_pipeline(parser: argparse.ArgumentParser, add_settings: AddSettings) -> None:
    """Add the options that say what is compiled."""
    add_settings(parser)
    add_grid(parser)
    parser.add_argument(
        "--policy", default="", metavar="FILE", help="YAML laid over the policy of each step (default: LONGTAIL_POLICY)"
    )


def compile_arguments(arguments: argparse.Namespace, *, fresh: bool = False) -> tuple[list[dict[str, Any]], Any]:
    """Return the compiled pipeline, or that of a sweep if one is given, and what the policy says of its runs.

    Args:
        arguments: Options of `add_pipeline`.
        fresh: True reads the data again in every run, for data that may change between them.

    Raises:
        InputError: If a setting, the policy or the data are wrong.
    """
    sweep = plan_arguments(arguments) if arguments.grid or arguments.seeds else None
    configs = (
        [point.config for point in sweep.points]
        if sweep
        else [pinned(resolve(arguments.preset, arguments.set, arguments.data, arguments.table))]
    )
    from pipelines.compiled import content_digest, specification
    from pipelines.policy_file import read_installation
    from pipelines.sweep_pipeline import sweep_specification

    installation = read_installation(arguments.policy)
    if fresh:
        reader = "feature_import" if configs[0].start == "features" else "data_imbalancing"
        uncached = replace(installation.steps[reader], cache=False)
        installation = replace(installation, steps={**installation.steps, reader: uncached})
    known = (arguments.data or arguments.table) and not fresh
    digests = [content_digest(config) if known else "" for config in configs]
    if sweep:
        return sweep_specification(sweep, digests, installation), installation.run
    return specification(configs[0], digests[0], installation), installation.run


def _compile(arguments: argparse.Namespace) -> int:
    import yaml

    if not arguments.out.parent.is_dir():
        raise InputError(f"{arguments.out.parent} is not a folder: give a file in a folder that exists")
    documents, _ = compile_arguments(arguments)
    written = documents
    if arguments.format == "kubernetes":
        from pipelines.compiled import manifests
        from pipelines.versions import version_name

        written = manifests(documents, version_name(documents), arguments.namespace)
    temporary = arguments.out.with_name(f".{arguments.out.name}.{os.getpid()}")
    try:
        temporary.write_text(yaml.safe_dump_all(written, sort_keys=False), encoding="utf-8")
        os.replace(temporary, arguments.out)
    except OSError as error:
        raise InputError(f"{arguments.out} cannot be written ({error.strerror}): give another file") from None
    finally:
        temporary.unlink(missing_ok=True)
    print(f"wrote {arguments.out}")
    warn(documents)
    return 0


def warn(documents: list[dict[str, Any]]) -> None:
    """Say on standard error what would surprise on a cluster."""
    containers = [executor["container"] for executor in documents[0]["deploymentSpec"]["executors"].values()]
    for image in sorted({container["image"] for container in containers if "@sha256:" not in container["image"]}):
        print(
            f"note: {image} is named by a tag: Kubeflow's cache takes it for the same image whatever it holds; push it "
            "and name it by digest",
            file=sys.stderr,
        )
    named = [{entry["name"] for entry in container.get("env", ())} for container in containers]
    if not all("MLFLOW_TRACKING_URI" in names for names in named):
        print(
            "note: MLFLOW_TRACKING_URI is in no policy: the runs of the steps end with their pods; set it in "
            "every_step.environment of a --policy file",
            file=sys.stderr,
        )
