"""Drift check as a Kubeflow component."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def drift_check(
    drift: Output[Artifact],
    report: Output[HTML],
    config: dict,
    data: dict,
    backbone: dict,
    model: str,
    cooldown: int,
    from_scratch: bool,
    seed: int,
) -> NamedTuple("Decision", [("needed", bool), ("data_digest", str), ("backbone", dict)]):
    """Compare the source with what the champion was trained on, and claim the start of a training if there is a reason.

    Args:
        drift: The comparison, as JSON.
        report: The comparison, as a page.
        config: What counts as a reason, see `longtail.config.DriftConfig`.
        data: The source, see `longtail.config.DataConfig`.
        backbone: How the network would be trained, see `longtail.config.BackboneConfig`.
        model: Name of the registered model whose champion is compared.
        cooldown: Seconds after a training was started in which no other is.
        from_scratch: Train new weights instead of going on from the champion's.
        seed: The pipeline's seed.

    Returns:
        Whether a training is needed and this run's to make, the digest of the source's content, and the settings of the
        network with the weights to start from.
    """
    from longtail.steps import run_step

    settings = {"drift": config, "data": data, "backbone": backbone}
    settings |= {"model": model, "cooldown": cooldown, "from_scratch": from_scratch}
    run_step("drift_check", config=settings, inputs={}, outputs={"drift": drift, "report": report}, seed=seed)
    return tuple(drift.metadata[name] for name in ("needed", "data_digest", "backbone"))
