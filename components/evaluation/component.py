"""Evaluation as a Kubeflow component."""

from typing import List

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def evaluation(
    features: Input[Dataset],
    classifiers: Input[List[Model]],
    results: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    config: dict,
) -> None:
    """Compare all classifiers on the whole test set: overall, many, medium, few, by class.

    Args:
        features: From feature extraction.
        classifiers: From classifier retraining, one for each method; the first is the baseline.
        results: JSON and a table.
        report: Table and figures, as a page.
        metrics: Accuracy in percent by method and group.
        config: Settings, see `longtail.config.EvaluationConfig`.
    """
    from pathlib import Path

    from longtail.artifacts import write_json
    from longtail.steps import run_step

    run_step(
        "evaluation",
        config=config,
        inputs={"features": features, "classifiers": classifiers},
        outputs={"results": results, "report": report, "metrics": metrics},
    )
    # Kubeflow's local cache takes an artifact without a file for one that was lost, and computes the step again.
    write_json(Path(metrics.path), metrics.metadata)
