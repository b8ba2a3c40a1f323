"""Versions of the pipeline on a server: named after what is in them, so that the same one is never there twice."""

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from longtail.artifacts import sha256_json
from longtail.tracking.run import git_commit
from pipelines.kubeflow import Kubeflow


def version_name(documents: list[dict[str, Any]]) -> str:
    """Return a name for a compiled pipeline that Kubernetes accepts: pipeline, commit or release, digest of it all."""
    commit, _, dirty = git_commit().partition("-")
    described = f"{commit[:12]}{'-dirty' if dirty else ''}" if commit else version("longtail")
    return f"{documents[0]['pipelineInfo']['name']}-{described}-{sha256_json(documents)[:12]}"


def uploaded_version(kubeflow: Kubeflow, documents: list[dict[str, Any]]) -> Any:
    """Return the server's version of a compiled pipeline, which is uploaded if it is not there yet.

    Raises:
        InputError: If the server cannot be reached or refuses.
    """
    name = version_name(documents)
    pipeline = _pipeline(kubeflow, documents[0]["pipelineInfo"])
    found = kubeflow.named(
        kubeflow.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        name,
        pipeline_id=pipeline.pipeline_id,
    )
    if found:
        return found[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
        return kubeflow.call(
            kubeflow.uploads.upload_pipeline_version,
            str(path),
            name=name,
            display_name=name,
            pipelineid=pipeline.pipeline_id,
        )


def _pipeline(kubeflow: Kubeflow, info: dict[str, Any]) -> Any:
    """Return the server's pipeline of a name, which is made if it is not there yet."""
    import kfp_server_api as api

    name = info["name"]
    found = kubeflow.named(
        kubeflow.pipelines.pipeline_service_list_pipelines, "pipelines", name, namespace=kubeflow.namespace
    )
    if found:
        return found[0]
    pipeline = api.V2beta1Pipeline(
        name=name, display_name=name, description=info.get("description"), namespace=kubeflow.namespace
    )
    return kubeflow.call(kubeflow.pipelines.pipeline_service_create_pipeline, pipeline)
