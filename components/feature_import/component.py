"""Feature import as a Kubeflow component."""

from kfp.dsl import HTML, Dataset, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def feature_import(
    features: Output[Dataset],
    report: Output[HTML],
    config: dict,
    data_digest: str,
) -> None:
    """Read features that were computed elsewhere from Parquet files, and hold out test rows if there are none.

    Args:
        features: Arrays that can be memory-mapped: one view of each split, labels, row numbers, their SHA-256.
        report: Class counts, as a page.
        config: Settings, see `longtail.config.TableConfig`.
        data_digest: SHA-256 of the files' content, so that the cache knows when the table changed.
    """
    from longtail.steps import run_step

    run_step(
        "feature_import",
        config=config,
        inputs={},
        outputs={"features": features, "report": report},
    )
