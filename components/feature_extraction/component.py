"""Feature extraction as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def feature_extraction(
    dataset: Input[Dataset],
    backbone: Input[Model],
    features: Output[Dataset],
    config: dict,
    seed: int,
) -> None:
    """Turn the images of every split into features of the frozen backbone.

    Args:
        dataset: From data imbalancing.
        backbone: From backbone training.
        features: Arrays that can be memory-mapped: one clean view of each split, augmented views of the training split.
        config: Settings, see `longtail.config.FeaturesConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "feature_extraction",
        config=config,
        inputs={"dataset": dataset, "backbone": backbone},
        outputs={"features": features},
        seed=seed,
    )
