"""Calibrated sampling as a Kubeflow component."""

from kfp.dsl import HTML, Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def calibrated_sampling(
    backbone: Input[Model],
    features: Input[Dataset],
    samples: Output[Dataset],
    report: Output[HTML],
    config: dict,
    seed: int,
) -> None:
    """Calibrate each tail class by its nearest classes and generate features until all classes are equal.

    Args:
        backbone: From backbone training; its head decides whether features are normalised.
        features: From feature extraction.
        samples: Generated features, their classes, the rows and classes they came from.
        report: Which classes calibrated which, and a map of real and generated features, as a page.
        config: Settings, see `longtail.config.CalibrationConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "calibrated_sampling",
        config=config,
        inputs={"backbone": backbone, "features": features},
        outputs={"samples": samples, "report": report},
        seed=seed,
    )
