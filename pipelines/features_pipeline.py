"""The method from features that were computed elsewhere: import, train a head, calibrate, retrain, evaluate."""

from typing import NamedTuple

from kfp import dsl

from components.feature_import.component import feature_import
from components.head_training.component import head_training
from pipelines.policy import POLICY, apply
from pipelines.tail import from_features


class Outputs(NamedTuple):
    """What a run leaves."""

    results: dsl.Artifact
    head_curvature: dsl.Artifact
    report: dsl.HTML


@dsl.pipeline(name="longtail-features", description="Long-tailed classification of features with calibrated sampling")
def features_pipeline(
    table: dict,
    head: dict,
    calibration: dict,
    methods: list,
    retraining: dict,
    hessian: dict,
    evaluation: dict,
    seed: int,
    data_digest: str,
) -> Outputs:
    """Return what a run leaves: the classifiers side by side, the curvature of their heads, the run's page."""
    imported = feature_import(config=table, data_digest=data_digest)
    apply(imported, POLICY["feature_import"])
    frozen = imported.outputs["features"]

    trained = head_training(features=frozen, config=head, seed=seed)
    apply(trained, POLICY["head_training"])

    compared, heads, page = from_features(
        backbone=trained.outputs["backbone"],
        features=frozen,
        calibration=calibration,
        methods=methods,
        retraining=retraining,
        evaluation=evaluation,
        hessian=hessian,
        seed=seed,
        pages={"data_page": imported.outputs["report"]},
    )

    return Outputs(
        results=compared.outputs["results"],
        head_curvature=heads.outputs["head_curvature"],
        report=page,
    )
