"""Promotion as a Kubeflow component."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def promotion(
    results: Input[Artifact],
    head_curvature: Input[Artifact],
    features: Input[Dataset],
    gate: Output[Artifact],
    report: Output[HTML],
    config: dict,
    seed: int,
    curvature: Input[Artifact] | None = None,
    dataset: Input[Dataset] | None = None,
) -> None:
    """Register one method's model in MLflow, and bring it into use if it passes the gate against the champion.

    Args:
        results: From evaluation, with the predictions of each method.
        head_curvature: From head curvature, for the version's tags.
        features: From feature extraction, or from feature import, to test the champion on if it was not yet.
        gate: The decision with each criterion, as JSON.
        report: The decision, as a page.
        config: Settings, see `longtail.config.PromotionConfig`.
        seed: The pipeline's seed, for the version's tags.
        curvature: From Hessian analysis; a run that starts from features has none.
        dataset: From data imbalancing, likewise.
    """
    from longtail.steps import run_step

    inputs = {"results": results, "head_curvature": head_curvature, "features": features}
    run_step(
        "promotion",
        config=config,
        inputs=inputs | {"curvature": curvature, "dataset": dataset},
        outputs={"gate": gate, "report": report},
        seed=seed,
    )
