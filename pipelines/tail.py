"""What every pipeline ends with, wherever its features come from: calibrate, retrain, compare, curve, report."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from components.classifier_retraining.component import classifier_retraining
from components.evaluation.component import evaluation as comparison
from components.head_curvature.component import head_curvature
from pipelines.policy import POLICY, apply
from pipelines.promotion import promotion_page
from pipelines.report import run_page
from pipelines.shards import calibrated_samples


def from_features(
    *,
    backbone: Any,
    features: Any,
    calibration: Any,
    methods: Any,
    retraining: Any,
    evaluation: Any,
    hessian: Any,
    seed: Any,
    pages: Mapping[str, Any],
    dataset: Any = None,
    curvature: Any = None,
) -> tuple[dsl.PipelineTask, dsl.PipelineTask, Any]:
    """Return the tasks that compare the classifiers and their curvature, and the page of the run.

    Called while a pipeline is being defined.

    Args:
        backbone: Artifact of the network with its first head.
        features: Artifact of its features.
        calibration: Settings, as the other groups and the seed a parameter of the pipeline.
        methods: Retraining methods, a parameter of the pipeline.
        retraining: Settings.
        evaluation: Settings.
        hessian: Settings.
        seed: The pipeline's seed.
        pages: Pages of the steps before, by the names that `run_report` gives them.
        dataset: Artifact of the images that the features come from, if there are any.
        curvature: Artifact of the network's curvature, if it is analysed.
    """
    calibrated = calibrated_samples(backbone=backbone, features=features, config=calibration, seed=seed)

    images = {} if dataset is None else {"dataset": dataset}
    with dsl.ParallelFor(methods) as method:
        retrained = classifier_retraining(
            backbone=backbone,
            features=features,
            samples=calibrated.outputs["samples"],
            method=method,
            config=retraining,
            seed=seed,
            **images,
        )
        apply(retrained, POLICY["classifier_retraining"])

    # The compiler changes a Collected where it is used, so each task gets its own.
    compared = comparison(
        features=features, classifiers=dsl.Collected(retrained.outputs["classifier"]), config=evaluation
    )
    apply(compared, POLICY["evaluation"])

    curved = head_curvature(
        features=features,
        classifiers=dsl.Collected(retrained.outputs["classifier"]),
        results=compared.outputs["results"],
        config=hessian,
        seed=seed,
    )
    apply(curved, POLICY["head_curvature"])

    given = images if curvature is None else images | {"curvature": curvature}
    return compared, curved, _closing(calibrated, compared, curved, pages, features=features, seed=seed, **given)


def _closing(
    calibrated: dsl.PipelineTask,
    compared: dsl.PipelineTask,
    curved: dsl.PipelineTask,
    pages: Mapping[str, Any],
    **promoted: Any,
) -> Any:
    """Return the page of the run, made after a model was promoted if one is."""
    results = compared.outputs["results"]
    decided = promotion_page(results=results, head_curvature=curved.outputs["head_curvature"], **promoted)
    return run_page(
        **pages,
        **decided,
        results=results,
        evaluation_page=compared.outputs["report"],
        sampling_page=calibrated.outputs["report"],
        head_curvature_page=curved.outputs["report"],
    )
