"""What each step reads, writes and can be told."""

from dataclasses import dataclass
from typing import Any

from longtail.config import (
    BackboneConfig,
    CalibrationConfig,
    DataConfig,
    EvaluationConfig,
    FeaturesConfig,
    HeadConfig,
    HessianConfig,
    PromotionConfig,
    RetrainingConfig,
    SweepConfig,
    TableConfig,
)
from longtail.config.drift_check import DriftCheckConfig


@dataclass(frozen=True)
class NoSettings:
    """Settings of a step that has none."""


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Attributes:
        summary: What it does, in one line.
        config: Dataclass of its settings.
        group: Name of these settings in a preset.
        inputs: Artifacts it reads, by name.
        outputs: Folders it writes, by name.
        page: Whether it also writes a `report` page.
        per_method: Whether it runs once for each retraining method.
        optional: Those of its inputs that it can do without.
        last: Whether the pipeline ends with it; a step after it all the same opens the pipeline's run again.
        long: Whether it works for so long that the use of its machine is recorded.
        splits: Splits of the data that it reads.
        brief: Outputs that one task may get of very many runs, so that their lineage is of this step alone.
    """

    summary: str
    config: type[Any]
    group: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    page: bool = False
    per_method: bool = False
    optional: tuple[str, ...] = ()
    last: bool = False
    long: bool = False
    splits: tuple[str, ...] = ()
    brief: tuple[str, ...] = ()


_ALL = ("train", "validation", "test")


PAGES = ("data", "training", "evaluation", "sampling", "curvature", "head_curvature", "promotion")
"""What the report of a run is put together from, in its order."""

STEPS: dict[str, Step] = {
    "data_imbalancing": Step(
        "choose a long-tailed data set", DataConfig, "data", (), ("dataset",), page=True, splits=_ALL
    ),
    "backbone_training": Step(
        "train the network on it",
        BackboneConfig,
        "backbone",
        ("dataset",),
        ("backbone",),
        page=True,
        long=True,
        splits=("train", "validation"),
    ),
    "feature_extraction": Step(
        "turn images into features", FeaturesConfig, "features", ("dataset", "backbone"), ("features",), splits=_ALL
    ),
    "calibrated_sampling": Step(
        "generate features for the tail",
        CalibrationConfig,
        "calibration",
        ("backbone", "features"),
        ("samples",),
        page=True,
        splits=("train",),
    ),
    "classifier_retraining": Step(
        "retrain the classifier",
        RetrainingConfig,
        "retraining",
        ("backbone", "features", "samples", "dataset"),
        ("classifier",),
        per_method=True,
        optional=("dataset",),
        splits=("train",),
    ),
    "hessian_analysis": Step(
        "measure the curvature, layer by layer",
        HessianConfig,
        "hessian",
        ("dataset", "backbone"),
        ("curvature",),
        page=True,
        long=True,
        splits=("train",),
    ),
    "evaluation": Step(
        "compare the classifiers",
        EvaluationConfig,
        "evaluation",
        ("features", "classifiers"),
        ("results",),
        page=True,
        splits=("test",),
        brief=("results",),
    ),
    "head_curvature": Step(
        "measure the curvature of each classifier's last layer",
        HessianConfig,
        "hessian",
        ("features", "classifiers", "results"),
        ("head_curvature",),
        page=True,
        splits=("train",),
    ),
}

FEATURE_STEPS: dict[str, Step] = {
    "feature_import": Step(
        "read features that were computed elsewhere", TableConfig, "table", (), ("features",), page=True, splits=_ALL
    ),
    "head_training": Step(
        "train a first head on them", HeadConfig, "head", ("features",), ("backbone",), splits=("train",)
    ),
}
"""Steps before `calibrated_sampling` in a run that starts from features."""

SHARD_STEPS: dict[str, Step] = {
    "feature_shard": Step(
        "turn a part of the images into features",
        FeaturesConfig,
        "features",
        ("dataset", "backbone"),
        ("feature_shard",),
        splits=_ALL,
    ),
    "feature_merge": Step(
        "put the parts of the features together", FeaturesConfig, "features", ("feature_shards",), ("features",)
    ),
    "sample_shard": Step(
        "generate features for a part of the tail",
        CalibrationConfig,
        "calibration",
        ("backbone", "features"),
        ("sample_shard",),
        splits=("train",),
    ),
    "sample_merge": Step(
        "put the generated features together",
        CalibrationConfig,
        "calibration",
        ("features", "sample_shards"),
        ("samples",),
        page=True,
        splits=("train",),
    ),
}
"""Steps in place of `feature_extraction` and `calibrated_sampling` with more than one of `features.shards` and
`calibration.shards`."""

SWEEP_STEPS: dict[str, Step] = {
    "sweep_summary": Step(
        "tabulate accuracy over settings and seeds",
        SweepConfig,
        "sweep",
        ("results",),
        ("summary",),
        page=True,
        last=True,
    ),
}
"""Steps over many runs of the pipeline."""

CLOSING_STEPS: dict[str, Step] = {
    "promotion": Step(
        "register a model and decide whether it replaces the champion",
        PromotionConfig,
        "promotion",
        ("results", "head_curvature", "features", "curvature", "dataset"),
        ("gate",),
        page=True,
        optional=("curvature", "dataset"),
        splits=("test",),
    ),
    "run_report": Step(
        "tell of the whole run on one page",
        NoSettings,
        "",
        ("results", *(f"{name}_page" for name in PAGES)),
        (),
        page=True,
        optional=("training_page", "curvature_page", "promotion_page"),
        last=True,
    ),
}
"""Steps that end a run; they are computed every time."""

OPENING_STEPS: dict[str, Step] = {
    "drift_check": Step(
        "decide whether there is a reason to train again",
        DriftCheckConfig,
        "drift_check",
        (),
        ("drift",),
        page=True,
        last=True,
    ),
}
"""Steps before a scheduled run; they are computed every time."""

EVERY_STEP = OPENING_STEPS | STEPS | FEATURE_STEPS | SHARD_STEPS | SWEEP_STEPS | CLOSING_STEPS
