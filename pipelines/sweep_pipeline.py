"""A sweep as one Kubeflow pipeline: the whole pipeline at every point, side by side, and a summary of all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from kfp import dsl

from components.data_imbalancing.component import data_imbalancing
from components.feature_import.component import feature_import
from components.sweep_summary.component import sweep_summary
from longtail.config import PromotionConfig
from pipelines.compiled import arguments, built, compiled
from pipelines.features_pipeline import features_pipeline
from pipelines.grid import Sweep, rounds
from pipelines.longtail_pipeline import longtail_pipeline
from pipelines.policy import POLICY, apply
from pipelines.policy_file import Installation, RunPolicy
from pipelines.report import without_report

Parameters = dict[str, Any]


class Outputs(NamedTuple):
    """What a sweep leaves."""

    summary: dsl.Artifact
    summary_report: dsl.HTML


def sweep_pipeline(sweep: Sweep, data_digests: Sequence[str], installation: Installation | None = None) -> Any:
    """Return the pipeline of a sweep; its points are part of it, so it has no parameters.

    Kubeflow reuses a step that ended, not one that is running beside. What many points share is therefore computed
    first: the data sets, then rounds of points of which no two need the same new step. The last loop is over all
    points and takes what the rounds did from the cache.

    Args:
        sweep: The sweep; all its points start from images or all from features.
        data_digests: SHA-256 of what each point starts from; may be empty texts.
        installation: Policies in place of those of the table.
    """
    from_features = sweep.points[0].config.start == "features"
    own = installation and replace(installation, run=RunPolicy())
    alike = replace(sweep.points[0].config, promotion=PromotionConfig())
    with without_report():
        method = built(features_pipeline if from_features else longtail_pipeline, own or Installation(), alike)
    source, read = ("table", feature_import) if from_features else ("data", data_imbalancing)
    values = {
        point.label: arguments(point.config, digest) for point, digest in zip(sweep.points, data_digests, strict=True)
    }
    sources = [{"config": point[source], "data_digest": point["data_digest"]} for point in values.values()]
    first_rounds = [[values[point.label] for point in points] for points in rounds(sweep.points)[:-1]]
    summary = sweep.summary(sweep.points)

    @dsl.pipeline(name="longtail-sweep", description=sweep.title)
    def longtail_sweep() -> Outputs:
        with dsl.ParallelFor(_distinct(sources)) as start:
            before = read(**_fields(start, {"config": "Dict", "data_digest": "String"}))
            apply(before, POLICY[read.name.replace("-", "_")])
        for points in first_rounds:
            with dsl.ParallelFor(points) as point:
                before = method(**_fields(point, _types(method))).after(before)
        with dsl.ParallelFor(list(values.values())) as point:
            ran = method(**_fields(point, _types(method))).after(before)
        summarised = sweep_summary(results=dsl.Collected(ran.outputs["results"]), config=summary)
        apply(summarised, POLICY["sweep_summary"])
        return Outputs(summary=summarised.outputs["summary"], summary_report=summarised.outputs["report"])

    return longtail_sweep


def sweep_specification(
    sweep: Sweep, data_digests: Sequence[str], installation: Installation | None = None
) -> list[dict[str, Any]]:
    """Return the compiled pipeline of a sweep and its Kubernetes settings, as plain values."""
    return compiled(built(sweep_pipeline(sweep, data_digests, installation), installation))


def _types(pipeline: Any) -> dict[str, str]:
    return {name: spec.type for name, spec in pipeline.component_spec.inputs.items()}


def _fields(item: Any, types: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a loop's item with their own types; kfp gives all of them that of the first."""
    fields = {name: getattr(item, name) for name in types}
    for name, field in fields.items():
        field.channel_type = types[name]
    return fields


def _distinct(values: Sequence[Parameters]) -> list[Parameters]:
    return [value for place, value in enumerate(values) if value not in values[:place]]
