"""Merge of the parts of the features as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def feature_merge(
    feature_shards: Input[list[Dataset]],
    features: Output[Dataset],
    config: dict,
    seed: int,
) -> None:
    """Put the parts of the features together, bit for bit as one task would have written them.

    Args:
        feature_shards: From the feature shards, in any order.
        features: Arrays that can be memory-mapped: one clean view of each split, augmented views of the training split.
        config: Settings, see `longtail.config.FeaturesConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "feature_merge",
        config=config,
        inputs={"feature_shards": feature_shards},
        outputs={"features": features},
        seed=seed,
    )
