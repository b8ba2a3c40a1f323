"""Merge of the generated features as a Kubeflow component."""

from kfp.dsl import HTML, Dataset, Input, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def sample_merge(
    features: Input[Dataset],
    sample_shards: Input[list[Dataset]],
    samples: Output[Dataset],
    report: Output[HTML],
    config: dict,
    seed: int,
) -> None:
    """Put the generated features of all groups together, bit for bit as one task would have written them.

    Args:
        features: From feature extraction.
        sample_shards: From the sample shards, in any order.
        samples: Generated features, their classes, the rows and classes they came from.
        report: Which classes calibrated which, and a map of real and generated features, as a page.
        config: Settings, see `longtail.config.CalibrationConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "sample_merge",
        config=config,
        inputs={"features": features, "sample_shards": sample_shards},
        outputs={"samples": samples, "report": report},
        seed=seed,
    )
