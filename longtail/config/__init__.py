"""Settings: frozen dataclasses, and how they are parsed and checked."""

from longtail.config.groups import (
    BackboneConfig,
    CalibrationConfig,
    DataConfig,
    DistillationConfig,
    EvaluationConfig,
    FeaturesConfig,
    HessianConfig,
    LossConfig,
    PipelineConfig,
    RetrainingConfig,
)
from longtail.config.parsing import parse, to_dict

__all__ = [
    "BackboneConfig",
    "CalibrationConfig",
    "DataConfig",
    "DistillationConfig",
    "EvaluationConfig",
    "FeaturesConfig",
    "HessianConfig",
    "LossConfig",
    "PipelineConfig",
    "RetrainingConfig",
    "parse",
    "to_dict",
]
