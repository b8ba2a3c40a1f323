"""Curvature of the retrained heads as a Kubeflow component."""

from typing import List

from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def head_curvature(
    features: Input[Dataset],
    classifiers: Input[List[Model]],
    results: Input[Artifact],
    head_curvature: Output[Artifact],
    report: Output[HTML],
    config: dict,
    seed: int,
) -> None:
    """Measure the curvature of each classifier's last layer, whole and by class group, against the first's.

    Args:
        features: From feature extraction, or from feature import; a fixed class-balanced subset is used.
        classifiers: From classifier retraining, one for each method; the first is what the others are compared with.
        results: From evaluation, for its class groups.
        head_curvature: Numbers by method, and a sentence of them, as JSON.
        report: Sentence, figure and table, as a page.
        config: Settings, see `longtail.config.HessianConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "head_curvature",
        config=config,
        inputs={"features": features, "classifiers": classifiers, "results": results},
        outputs={"head_curvature": head_curvature, "report": report},
        seed=seed,
    )
