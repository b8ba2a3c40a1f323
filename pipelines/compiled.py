"""The pipeline as Kubeflow's YAML, with a preset's settings as the defaults of its parameters."""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from longtail.config import PipelineConfig, to_dict
from longtail.data.digest import source_digest
from longtail.data.table_files import table_digest
from pipelines.policy_file import Installation

UNUSED = {"images": ("table", "head", "drift"), "features": ("data", "backbone", "features", "drift")}
"""Groups of settings that the pipeline of each start does not read."""

Documents = list[dict[str, Any]]


def used_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that a configuration's pipeline reads, as plain values."""
    return {name: value for name, value in to_dict(config).items() if name not in UNUSED[config.start]}


def content_digest(config: PipelineConfig) -> str:
    """Return the SHA-256 of all that a configuration's pipeline starts from, as hex.

    Raises:
        InputError: If it cannot be found.
    """
    return table_digest(config.table) if config.start == "features" else source_digest(config.data)


def arguments(config: PipelineConfig, data_digest: str) -> dict[str, Any]:
    """Return the pipeline's parameters for a configuration."""
    values = used_settings(config)
    del values["start"], values["promotion"]  # what is compiled, no parameters
    retraining = values["retraining"]
    methods = list(retraining.pop("methods"))
    return {**values, "methods": methods, "data_digest": data_digest}


def specification(config: PipelineConfig, data_digest: str, installation: Installation | None = None) -> Documents:
    """Return the compiled pipeline and its Kubernetes settings, as plain values.

    Args:
        config: The settings, which become the defaults of its parameters.
        data_digest: SHA-256 of what it starts from; may be empty.
        installation: Policies in place of those of the table.
    """
    from pipelines.features_pipeline import features_pipeline
    from pipelines.longtail_pipeline import longtail_pipeline
    from pipelines.promotion import check

    pipeline = features_pipeline if config.start == "features" else longtail_pipeline
    check(config)
    chosen = built(pipeline, installation, config)
    return compiled(chosen, arguments(config, data_digest))


def built(pipeline: Any, installation: Installation | None, config: PipelineConfig | None = None) -> Any:
    """Return a pipeline with an installation's policies, a configuration's shards, and a step that promotes.

    Args:
        pipeline: What kfp built with the table's own policies and one shard when it was defined.
        installation: Policies in place of those of the table.
        config: Of its settings, those that say which tasks there are: `shards`, and the model that is promoted.
    """
    config = config or PipelineConfig()
    parts = max(config.features.shards, config.calibration.shards)
    if installation is None and parts == 1 and not config.promotion.model:
        return pipeline
    from kfp import dsl

    from pipelines.policy import seconds, using
    from pipelines.promotion import promoting
    from pipelines.shards import split

    installation = installation or Installation()
    run = installation.run
    ttl = {
        "ttl_seconds_after_finished": run.keep,
        "ttl_seconds_after_failure": run.keep_failed,
        "active_deadline_seconds": run.timeout,
    }
    whole = dsl.PipelineConfig(**{name: seconds(value) for name, value in ttl.items() if value})
    described = {"name": pipeline.component_spec.name, "description": pipeline.component_spec.description}
    with using(installation.steps), split(config), promoting(config.promotion):
        return dsl.pipeline(**described, pipeline_config=whole)(pipeline.pipeline_func)


def compiled(pipeline: Any, parameters: dict[str, Any] | None = None) -> Documents:
    """Return a pipeline as kfp compiles it, as plain values."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path), pipeline_parameters=parameters, type_check=True)
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def manifests(documents: Documents, version: str, namespace: str = "") -> Documents:
    """Return a compiled pipeline as objects of the Kubernetes API, for a Kubeflow that keeps its pipelines there.

    Args:
        documents: What `specification` returned.
        version: Name of the version, which Kubernetes does not allow to change; see `versions.version_name`.
        namespace: Namespace of the objects; empty leaves it to whoever applies them.
    """
    from google.protobuf import json_format
    from kfp.compiler import KubernetesManifestOptions
    from kfp.compiler.pipeline_spec_builder import write_pipeline_spec_to_file
    from kfp.pipeline_spec import pipeline_spec_pb2

    pipeline, platform = documents
    options = KubernetesManifestOptions(
        pipeline_version_name=version, namespace=namespace or None, include_pipeline_manifest=True
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifests.yaml"
        write_pipeline_spec_to_file(
            pipeline_spec=json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec()),
            pipeline_description=pipeline["pipelineInfo"].get("description"),
            platform_spec=json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec()),
            package_path=str(path),
            kubernetes_manifest_options=options,
            kubernetes_manifest_format=True,
        )
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
