"""Backbone training as a Kubeflow component."""

from kfp.dsl import HTML, Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def backbone_training(
    dataset: Input[Dataset],
    backbone: Output[Model],
    report: Output[HTML],
    config: dict,
    seed: int,
) -> None:
    """Train the network on the imbalanced images.

    Args:
        dataset: From data imbalancing.
        backbone: The trained network with its head, as safetensors.
        report: Training curves, as a page.
        config: Settings, see `longtail.config.BackboneConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "backbone_training",
        config=config,
        inputs={"dataset": dataset},
        outputs={"backbone": backbone, "report": report},
        seed=seed,
    )
