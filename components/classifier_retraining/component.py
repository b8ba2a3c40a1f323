"""Classifier retraining as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def classifier_retraining(
    dataset: Input[Dataset],
    backbone: Input[Model],
    features: Input[Dataset],
    samples: Input[Dataset],
    classifier: Output[Model],
    method: str,
    config: dict,
    seed: int,
) -> None:
    """Retrain the classifier on the frozen features by one method, and log the whole model to MLflow.

    Args:
        dataset: From data imbalancing; gives the model's input example.
        backbone: From backbone training.
        features: From feature extraction.
        samples: From calibrated sampling.
        classifier: The network with its retrained head.
        method: `baseline`, `crt`, `tailcalib` or `tailcalibx`.
        config: Settings, see `longtail.config.RetrainingConfig`.
        seed: The pipeline's seed.
    """
    from longtail.steps import run_step

    run_step(
        "classifier_retraining",
        config=config,
        inputs={"dataset": dataset, "backbone": backbone, "features": features, "samples": samples},
        outputs={"classifier": classifier},
        seed=seed,
        method=method,
    )
