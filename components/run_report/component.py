"""Run report as a Kubeflow component."""

from kfp.dsl import HTML, Artifact, Input, Output, component

from components import images


@component(base_image=images.CPU, install_kfp_package=False)
def run_report(
    results: Input[Artifact],
    data_page: Input[HTML],
    evaluation_page: Input[HTML],
    sampling_page: Input[HTML],
    head_curvature_page: Input[HTML],
    report: Output[HTML],
    training_page: Input[HTML] | None = None,
    curvature_page: Input[HTML] | None = None,
    promotion_page: Input[HTML] | None = None,
) -> None:
    """Tell of the whole run on one page, which the pipeline's run in MLflow shows too, with a description.

    Args:
        results: From evaluation.
        data_page: From data imbalancing, or from feature import.
        evaluation_page: From evaluation.
        sampling_page: From calibrated sampling.
        head_curvature_page: From head curvature.
        report: Summary, table with intervals, all figures, timings and lineage, as a page.
        training_page: From backbone training; a run that starts from features has none.
        curvature_page: From Hessian analysis; a run that starts from features has none.
        promotion_page: From promotion, if the run promotes.
    """
    from longtail.steps import run_step

    pages = {"data": data_page, "training": training_page, "evaluation": evaluation_page, "sampling": sampling_page}
    pages |= {"curvature": curvature_page, "head_curvature": head_curvature_page, "promotion": promotion_page}
    inputs = {"results": results} | {f"{name}_page": page for name, page in pages.items()}
    run_step("run_report", config={}, inputs=inputs, outputs={"report": report})
