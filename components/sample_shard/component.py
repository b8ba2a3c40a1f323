"""Calibrated sampling for one group of classes as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def sample_shard(
    backbone: Input[Model],
    features: Input[Dataset],
    sample_shard: Output[Dataset],
    config: dict,
    seed: int,
    shard: int,
) -> None:
    """Calibrate the tail classes of one group by their nearest classes, whichever those are, and generate features.

    Args:
        backbone: From backbone training; its head decides whether features are normalised.
        features: From feature extraction.
        sample_shard: Generated features of consecutive classes, for sample merge alone.
        config: Settings, see `longtail.config.CalibrationConfig`.
        seed: The pipeline's seed.
        shard: Which group, from 0.
    """
    from longtail.steps import run_step

    run_step(
        "sample_shard",
        config=config,
        inputs={"backbone": backbone, "features": features},
        outputs={"sample_shard": sample_shard},
        seed=seed,
        method=str(int(shard)),
    )
