"""Classifier retraining as a Kubeflow component."""

from kfp.dsl import Dataset, Input, Model, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def classifier_retraining(
    backbone: Input[Model],
    features: Input[Dataset],
    samples: Input[Dataset],
    classifier: Output[Model],
    method: str,
    config: dict,
    seed: int,
    dataset: Input[Dataset] | None = None,
) -> None:
    """Retrain the classifier on the frozen features by one method, and log the whole model to MLflow.

    Args:
        backbone: From backbone training, or from head training.
        features: From feature extraction, or from feature import.
        samples: From calibrated sampling.
        classifier: The network with its retrained head.
        method: `baseline`, `crt`, `tailcalib`, `tailcalibx`, `modals`, `logit_adjustment` or `tau_norm`.
        config: Settings, see `longtail.config.RetrainingConfig`.
        seed: The pipeline's seed.
        dataset: From data imbalancing; may be left out but for settings that run the backbone on images again.
    """
    from longtail.steps import run_step

    run_step(
        "classifier_retraining",
        config=config,
        inputs={"backbone": backbone, "features": features, "samples": samples, "dataset": dataset},
        outputs={"classifier": classifier},
        seed=seed,
        method=method,
    )
