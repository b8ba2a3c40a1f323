"""Head training as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def head_training(
    features: Input[Dataset],
    backbone: Output[Model],
    config: dict,
    seed: int,
) -> None:
    """Train a first head on features that were computed elsewhere, every training row equally often.

    Args:
        features: From feature import.
        backbone: The network `identity`, which is only the features' scaling, with the head.
        config: Settings, see `longtail.config.HeadConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "head_training",
        config=config,
        inputs={"features": features},
        outputs={"backbone": backbone},
        seed=seed,
    )
