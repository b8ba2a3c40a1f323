"""Drift check as a Kubeflow component."""

from kfp.dsl import HTML, Artifact, Output, OutputPath, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def drift_check(
    drift: Output[Artifact],
    report: Output[HTML],
    data_digest: OutputPath(str),
    training: OutputPath(dict),
    config: dict,
    seed: int,
) -> bool:
    """Compare the source with what the champion was trained on, and claim the start of a training if there is a reason.

    Args:
        drift: The comparison, as JSON.
        report: The comparison, as a page.
        data_digest: Gets the digest of the source's content.
        training: Gets the settings of the network, with the weights to start from.
        config: Settings, see `longtail.config.drift_check.DriftCheckConfig`.
        seed: The pipeline's seed.

    Returns:
        Whether a training is needed and this run's to make.
    """
    import json
    from pathlib import Path

    from longtail.steps import run_step

    run_step("drift_check", config=config, inputs={}, outputs={"drift": drift, "report": report}, seed=seed)
    Path(data_digest).write_text(drift.metadata["data_digest"], encoding="utf-8")
    Path(training).write_text(json.dumps(drift.metadata["backbone"]), encoding="utf-8")
    return drift.metadata["needed"]
