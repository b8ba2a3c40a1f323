"""Extraction of one part of the features as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def feature_shard(
    dataset: Input[Dataset],
    backbone: Input[Model],
    feature_shard: Output[Dataset],
    config: dict,
    seed: int,
    shard: int,
) -> None:
    """Turn one part of the images of every split into features of the frozen backbone.

    Args:
        dataset: From data imbalancing.
        backbone: From backbone training.
        feature_shard: Features of the part's images, for feature merge alone.
        config: Settings, see `longtail.config.FeaturesConfig`.
        seed: The pipeline's seed.
        shard: Which part, from 0.
    """
    from longtail.steps import run_step

    run_step(
        "feature_shard",
        config=config,
        inputs={"dataset": dataset, "backbone": backbone},
        outputs={"feature_shard": feature_shard},
        seed=seed,
        method=str(int(shard)),
    )
