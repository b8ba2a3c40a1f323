"""Sweep summary as a Kubeflow component."""

from typing import List

from kfp.dsl import HTML, Artifact, Input, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def sweep_summary(
    results: Input[List[Artifact]],
    summary: Output[Artifact],
    report: Output[HTML],
    config: dict,
) -> None:
    """Tabulate the accuracies of a sweep over settings and seeds: mean, standard deviation, gain, figures.

    Args:
        results: From evaluation, one for each point of the sweep.
        summary: Tables, figures and every accuracy.
        report: Table and figures, as a page.
        config: Which point each result is of, see `longtail.config.SweepConfig`.
    """
    from longtail.steps import run_step

    run_step(
        "sweep_summary",
        config=config,
        inputs={"results": results},
        outputs={"summary": summary, "report": report},
    )
