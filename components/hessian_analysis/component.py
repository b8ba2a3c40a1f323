"""Hessian analysis as a Kubeflow component."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def hessian_analysis(
    dataset: Input[Dataset],
    backbone: Input[Model],
    curvature: Output[Artifact],
    report: Output[HTML],
    config: dict,
    seed: int,
) -> None:
    """Measure the Hessian of the trained network: trace, top eigenvalue and density, whole and layer by layer.

    Args:
        dataset: From data imbalancing; a fixed class-balanced subset is used.
        backbone: From backbone training.
        curvature: The report as JSON and npz.
        report: Figures, as a page.
        config: Settings, see `longtail.config.HessianConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "hessian_analysis",
        config=config,
        inputs={"dataset": dataset, "backbone": backbone},
        outputs={"curvature": curvature, "report": report},
        seed=seed,
    )
