"""The method, as a pipeline: imbalance, train, extract, calibrate, retrain, evaluate; curvature before and after."""

from typing import NamedTuple

from kfp import dsl

from components.backbone_training.component import backbone_training
from components.data_imbalancing.component import data_imbalancing
from components.hessian_analysis.component import hessian_analysis
from pipelines.policy import POLICY, apply
from pipelines.shards import frozen_features
from pipelines.tail import from_features


class Outputs(NamedTuple):
    """What a run leaves."""

    results: dsl.Artifact
    curvature: dsl.Artifact
    head_curvature: dsl.Artifact
    report: dsl.HTML


@dsl.pipeline(name="longtail", description="Long-tailed image classification with calibrated feature sampling")
def longtail_pipeline(
    data: dict,
    backbone: dict,
    features: dict,
    calibration: dict,
    methods: list,
    retraining: dict,
    hessian: dict,
    evaluation: dict,
    seed: int,
    data_digest: str,
) -> Outputs:
    """Return what a run leaves: the classifiers side by side, the curvature of network and heads, the run's page."""
    imbalanced = data_imbalancing(config=data, data_digest=data_digest)
    apply(imbalanced, POLICY["data_imbalancing"])
    images = imbalanced.outputs["dataset"]

    trained = backbone_training(dataset=images, config=backbone, seed=seed)
    apply(trained, POLICY["backbone_training"])
    network = trained.outputs["backbone"]

    curved = hessian_analysis(dataset=images, backbone=network, config=hessian, seed=seed)
    apply(curved, POLICY["hessian_analysis"])

    frozen = frozen_features(dataset=images, backbone=network, config=features, seed=seed)

    compared, heads, page = from_features(
        backbone=network,
        features=frozen,
        calibration=calibration,
        methods=methods,
        retraining=retraining,
        evaluation=evaluation,
        hessian=hessian,
        seed=seed,
        pages={
            "data_page": imbalanced.outputs["report"],
            "training_page": trained.outputs["report"],
            "curvature_page": curved.outputs["report"],
        },
        dataset=images,
        curvature=curved.outputs["curvature"],
    )

    return Outputs(
        results=compared.outputs["results"],
        curvature=curved.outputs["curvature"],
        head_curvature=heads.outputs["head_curvature"],
        report=page,
    )
