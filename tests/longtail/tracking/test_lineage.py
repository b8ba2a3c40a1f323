from longtail.tracking.lineage import logged_models, record_cached_step
from longtail.tracking.run import pipeline_run, step_run


def test_cached_step_has_the_metrics_of_its_source(tracking):
    with step_run("train", {}, {}) as source:
        source.log_metrics({"accuracy": 0.75})
    with pipeline_run("p-4", {}, {}) as parent:
        record_cached_step(parent, "train", source.run_id)
        record_cached_step(parent, "extract", "0" * 32)
        record_cached_step(parent, "evaluate", "")
    query = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    children = {run.info.run_name: run for run in tracking.search_runs([parent.experiment_id], query)}
    assert set(children) == {"train", "extract", "evaluate"}
    for child in children.values():
        assert child.info.status == "FINISHED"
        assert child.data.tags["longtail.cached"] == "true"
    assert children["train"].data.metrics == {"accuracy": 0.75}
    assert children["train"].data.tags["longtail.source_run_id"] == source.run_id
    assert children["extract"].data.metrics == {}


def test_models_are_found_by_the_run_that_logged_them(tracking, log_model):
    with step_run("retrain", {}, {}) as source:
        uri = log_model(source)
    with pipeline_run("p-6", {}, {}) as parent:
        assert logged_models(parent, source.run_id) == [uri]
        assert logged_models(parent, parent.run_id) == []
        assert logged_models(parent, "0" * 32) == []
        assert logged_models(parent, "") == []
