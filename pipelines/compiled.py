"""The pipeline as Kubeflow's YAML, with a preset's settings as the defaults of its parameters."""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from longtail.config import PipelineConfig, to_dict
from longtail.data.digest import source_digest
from longtail.data.table_files import table_digest

UNUSED = {"images": ("table", "head"), "features": ("data", "backbone", "features")}
"""Groups of settings that the pipeline of each start does not read."""


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
    del values["start"]
    retraining = values["retraining"]
    methods = list(retraining.pop("methods"))
    return {**values, "methods": methods, "data_digest": data_digest}


def specification(config: PipelineConfig, data_digest: str) -> list[dict[str, Any]]:
    """Return the compiled pipeline and its Kubernetes settings, as plain values."""
    from kfp import compiler

    from pipelines.features_pipeline import features_pipeline
    from pipelines.longtail_pipeline import longtail_pipeline

    pipeline = features_pipeline if config.start == "features" else longtail_pipeline
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(
            pipeline, str(path), pipeline_parameters=arguments(config, data_digest), type_check=True
        )
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
