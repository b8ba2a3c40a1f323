"""Settings: frozen dataclasses, and how they are parsed and checked."""

from longtail.config.curvature import CurvatureConfig, TracePenaltyConfig
from longtail.config.drift import DriftConfig
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
    SweepConfig,
)
from longtail.config.parsing import parse, to_dict
from longtail.config.promotion import PromotionConfig
from longtail.config.table import HeadConfig, TableConfig

__all__ = [
    "BackboneConfig",
    "CalibrationConfig",
    "CurvatureConfig",
    "DataConfig",
    "DistillationConfig",
    "DriftConfig",
    "EvaluationConfig",
    "FeaturesConfig",
    "HeadConfig",
    "HessianConfig",
    "LossConfig",
    "PipelineConfig",
    "PromotionConfig",
    "RetrainingConfig",
    "SweepConfig",
    "TableConfig",
    "TracePenaltyConfig",
    "parse",
    "to_dict",
]
