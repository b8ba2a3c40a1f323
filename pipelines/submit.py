"""`longtail submit`: a run of the pipeline on a Kubeflow Pipelines server."""

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from pipelines.compile import AddSettings, add_pipeline, compile_arguments, warn
from pipelines.kubeflow import Kubeflow, add_connection, connect


def add_submit(commands: Any, add_settings: AddSettings) -> None:
    """Add the subcommand `submit`."""
    parser = commands.add_parser("submit", help="run the pipeline on a Kubeflow Pipelines server")
    add_pipeline(parser, add_settings)
    add_run(parser)
    parser.add_argument("--name", default="", help="name of the run (default: the version and the time)")
    parser.add_argument("--wait", action="store_true", help="follow the run to its end; exit code 1 if it fails")
    add_connection(parser)
    parser.set_defaults(command=_submit)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run that are not in its policy."""
    parser.add_argument("--experiment", default="longtail", help="Kubeflow experiment (default: %(default)s)")


def experiment_id(kubeflow: Kubeflow, name: str) -> str:
    """Return the id of an experiment, which is made if it is not there yet.

    Raises:
        InputError: If the server cannot be reached or refuses.
    """
    import kfp_server_api as api

    found = kubeflow.named(
        kubeflow.experiments.experiment_service_list_experiments, "experiments", name, namespace=kubeflow.namespace
    )
    wanted = api.V2beta1Experiment(display_name=name, namespace=kubeflow.namespace)
    made = found[0] if found else kubeflow.call(kubeflow.experiments.experiment_service_create_experiment, wanted)
    return str(made.experiment_id)


def create_run(kubeflow: Kubeflow, version: Any, policy: Any, experiment: str, name: str) -> Any:
    """Return a new run of a version of the pipeline.

    Args:
        kubeflow: The connection.
        version: The version.
        policy: What the installation's policy says of runs.
        experiment: Name of the experiment that it belongs to.
        name: Its name; empty makes one.

    Raises:
        InputError: If the server cannot be reached or refuses.
    """
    import kfp_server_api as api

    run = api.V2beta1Run(
        display_name=name or f"{version.display_name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        experiment_id=experiment_id(kubeflow, experiment),
        pipeline_version_reference=reference(version),
        runtime_config=runtime(policy),
        service_account=policy.service_account or None,
    )
    return kubeflow.call(kubeflow.runs.run_service_create_run, run)


def reference(version: Any) -> Any:
    """Return what pins a version of the pipeline."""
    import kfp_server_api as api

    return api.V2beta1PipelineVersionReference(
        pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
    )


def runtime(policy: Any) -> Any:
    """Return what a run is given beside its version, whose parameters have the settings as defaults."""
    import kfp_server_api as api

    return api.V2beta1RuntimeConfig(parameters={}, pipeline_root=policy.pipeline_root or None)


def submitted(arguments: argparse.Namespace) -> tuple[Kubeflow, str]:
    """Return the server and the id of the run that a command's options ask for, after saying where it is.

    Raises:
        InputError: If a setting, the policy or the data are wrong, or the server cannot be reached or refuses.
    """
    from pipelines.versions import uploaded_version

    documents, policy = compile_arguments(arguments)
    kubeflow = connect(arguments)
    version = uploaded_version(kubeflow, documents)
    run = create_run(kubeflow, version, policy, arguments.experiment, arguments.name)
    print(f"version     {version.display_name}")
    print(f"run         {run.run_id}  {run.display_name}")
    print(f"page        {kubeflow.page(f'runs/details/{run.run_id}')}", flush=True)
    warn(documents)
    return kubeflow, str(run.run_id)


def _submit(arguments: argparse.Namespace) -> int:
    from pipelines.runs import follow

    kubeflow, run_id = submitted(arguments)
    if arguments.wait:
        return follow(kubeflow, run_id)
    print(f"to follow   {sys.argv[0]} runs watch {run_id}")
    return 0
