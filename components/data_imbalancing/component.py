"""Data imbalancing as a Kubeflow component."""

from kfp.dsl import HTML, Dataset, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def data_imbalancing(
    dataset: Output[Dataset],
    report: Output[HTML],
    config: dict,
    data_digest: str,
) -> None:
    """Choose a long-tailed data set from a source of images.

    Args:
        dataset: Chosen images (packed when small), labels, row numbers, their SHA-256.
        report: Class counts, as a page.
        config: Settings, see `longtail.config.DataConfig`.
        data_digest: SHA-256 of the source's content, so that the cache knows when the data changed.
    """
    from longtail.steps import run_step

    run_step(
        "data_imbalancing",
        config=config,
        inputs={},
        outputs={"dataset": dataset, "report": report},
    )
