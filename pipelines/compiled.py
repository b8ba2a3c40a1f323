"""The pipeline as Kubeflow's YAML, with a preset's settings as the defaults of its parameters."""

import tempfile
from pathlib import Path
from typing import Any

import yaml

from longtail.config import PipelineConfig, to_dict


def arguments(config: PipelineConfig, data_digest: str) -> dict[str, Any]:
    """Return the pipeline's parameters for a configuration."""
    values = to_dict(config)
    retraining = values["retraining"]
    methods = list(retraining.pop("methods"))
    return {**values, "methods": methods, "data_digest": data_digest}


def specification(config: PipelineConfig, data_digest: str) -> list[dict[str, Any]]:
    """Return the compiled pipeline and its Kubernetes settings, as plain values."""
    from kfp import compiler

    from pipelines.longtail_pipeline import longtail_pipeline

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(
            longtail_pipeline, str(path), pipeline_parameters=arguments(config, data_digest), type_check=True
        )
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
