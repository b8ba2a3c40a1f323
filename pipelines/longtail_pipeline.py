"""The method, as a pipeline: imbalance, train, extract, calibrate, retrain, evaluate; curvature beside."""

from typing import NamedTuple

from kfp import dsl

from components.backbone_training.component import backbone_training
from components.calibrated_sampling.component import calibrated_sampling
from components.classifier_retraining.component import classifier_retraining
from components.data_imbalancing.component import data_imbalancing
from components.evaluation.component import evaluation as comparison
from components.feature_extraction.component import feature_extraction
from components.hessian_analysis.component import hessian_analysis
from pipelines.policy import POLICY, apply


class Outputs(NamedTuple):
    """What a run leaves."""

    results: dsl.Artifact
    evaluation_report: dsl.HTML
    curvature: dsl.Artifact
    curvature_report: dsl.HTML


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
    """Return what a run leaves: the classifiers side by side, and the curvature of the network."""
    imbalanced = data_imbalancing(config=data, data_digest=data_digest)
    apply(imbalanced, POLICY["data_imbalancing"])
    images = imbalanced.outputs["dataset"]

    trained = backbone_training(dataset=images, config=backbone, seed=seed)
    apply(trained, POLICY["backbone_training"])
    network = trained.outputs["backbone"]

    curved = hessian_analysis(dataset=images, backbone=network, config=hessian, seed=seed)
    apply(curved, POLICY["hessian_analysis"])

    extracted = feature_extraction(dataset=images, backbone=network, config=features, seed=seed)
    apply(extracted, POLICY["feature_extraction"])
    frozen = extracted.outputs["features"]

    calibrated = calibrated_sampling(backbone=network, features=frozen, config=calibration, seed=seed)
    apply(calibrated, POLICY["calibrated_sampling"])

    with dsl.ParallelFor(methods) as method:
        retrained = classifier_retraining(
            dataset=images,
            backbone=network,
            features=frozen,
            samples=calibrated.outputs["samples"],
            method=method,
            config=retraining,
            seed=seed,
        )
        apply(retrained, POLICY["classifier_retraining"])

    compared = comparison(
        features=frozen, classifiers=dsl.Collected(retrained.outputs["classifier"]), config=evaluation
    )
    apply(compared, POLICY["evaluation"])

    return Outputs(
        results=compared.outputs["results"],
        evaluation_report=compared.outputs["report"],
        curvature=curved.outputs["curvature"],
        curvature_report=curved.outputs["report"],
    )
