import pytest

from longtail.errors import InputError
from longtail.tracking import search
from longtail.tracking.lineage import record_cached_step
from longtail.tracking.run import close_pipeline_run, pipeline_run, step_run, sweep_run, tracking_uri
from longtail.tracking.search import finished_pipelines

CONFIG = {"backbone": {"network": "resnet32_128", "epochs": 2}, "seed": 1}


def found(**params):
    return list(finished_pipelines(tracking_uri(), params))


def pipeline(name, monkeypatch, log, config=CONFIG):
    """Log a pipeline's run; `log` gets it while its steps can nest."""
    monkeypatch.setenv("KFP_RUN_ID", name)
    with pipeline_run(name, config, {}) as run:
        log(run)
    return run.run_id


def step(label, metrics=(), datasets=()):
    with step_run(label, {}, {}) as run:
        for number, values in enumerate(metrics, 1):
            run.log_metrics(values, step=number)
        for name, digest in datasets:
            run.log_dataset(name, digest, "training", "here")
    return run.run_id


def test_a_finished_pipeline_with_its_steps(tracking, monkeypatch):
    def log(run):
        step("data_imbalancing", datasets=[("cifar100-train", "ab" * 32), ("cifar100-test", "ab" * 32)])
        step("backbone_training", [{"train/seconds": 10.0}, {"train/seconds": 12.0}, {"train/total_seconds": 22.0}])
        run.log_metrics({"test/crt_top1": 42.9})

    run_id = pipeline("p-1", monkeypatch, log)
    (record,) = found()
    assert (record.run_id, record.metrics) == (run_id, {"test/crt_top1": 42.9})
    assert record.params == {"backbone.network": "resnet32_128", "backbone.epochs": "2", "seed": "1"}
    assert record.steps["data_imbalancing"].datasets == {"cifar100-train": "ab" * 32, "cifar100-test": "ab" * 32}
    assert record.steps["data_imbalancing"].seconds is None
    assert record.steps["backbone_training"].seconds == 22.0


def test_only_pipelines_that_finished_and_have_the_settings(tracking, monkeypatch):
    first = pipeline("p-1", monkeypatch, lambda run: None)
    second = pipeline("p-2", monkeypatch, lambda run: None, {**CONFIG, "seed": 2})
    with pytest.raises(ValueError, match="x"), pipeline_run("p-3", CONFIG, {}):
        raise ValueError("x")
    pipeline("p-4", monkeypatch, lambda run: None)
    close_pipeline_run("p-4", succeeded=False)
    monkeypatch.delenv("KFP_RUN_ID")
    step("a step of its own")
    monkeypatch.setattr(search, "_PAGE", 1)
    assert [record.run_id for record in found()] == [first, second]
    assert [record.run_id for record in found(seed="2")] == [second]
    assert found(**{"backbone.network": "small_cnn"}) == []


def test_a_cached_step_has_the_data_and_the_epochs_of_its_source(tracking, monkeypatch):
    sources = {}

    def log(run):
        sources["data_imbalancing"] = step("data_imbalancing", datasets=[("cifar100-train", "ab" * 32)])
        sources["backbone_training"] = step("backbone_training", [{"train/seconds": 10.0}, {"train/seconds": 12.0}])

    def log_cached(run):
        for label, source in sources.items():
            record_cached_step(run, label, source)

    pipeline("p-1", monkeypatch, log)
    pipeline("p-2", monkeypatch, log_cached)
    computed, cached = found()
    assert computed.steps == cached.steps
    assert cached.steps["backbone_training"].seconds == 22.0
    tracking._tracking_client.store._hard_delete_run(sources["data_imbalancing"])
    tracking._tracking_client.store._hard_delete_run(sources["backbone_training"])
    _, orphan = found()
    assert orphan.steps["data_imbalancing"].datasets == {}
    assert orphan.steps["backbone_training"].seconds is None


def test_seconds_count_the_teacher_and_no_part_of_a_resumed_training(tracking, monkeypatch):
    def log(run):
        step("distilled", [{"train/total_seconds": 20.0, "teacher/train/total_seconds": 30.0}])
        with step_run("resumed", {}, {}) as resumed:
            resumed.log_metrics({"train/seconds": 10.0}, step=2)

    pipeline("p-1", monkeypatch, log)
    (record,) = found()
    assert record.steps["distilled"].seconds == 50.0
    assert record.steps["resumed"].seconds is None


def test_of_a_step_that_was_tried_again_the_last_try_counts(tracking, monkeypatch):
    def log(run):
        step("evaluation", [{"test/crt_top1": 1.0}])
        step("evaluation", [{"test/crt_top1": 2.0}])
        with pytest.raises(ValueError, match="x"), step_run("evaluation", {}, {}):
            raise ValueError("x")

    pipeline("p-1", monkeypatch, log)
    assert found()[0].steps["evaluation"].metrics == {"test/crt_top1": 2.0}


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    uri = f"sqlite:///{tmp_path / 'folder' / 'none.db'}"
    with pytest.raises(InputError, match=r"there is no .*none.db; give the database that the runs were logged to"):
        next(finished_pipelines(uri, {}))
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.db").write_text("no database")
    with pytest.raises(InputError, match="is not an SQLite database"):
        next(finished_pipelines(f"sqlite:///{tmp_path / 'other.db'}", {}))


def test_the_pipelines_of_a_sweep_are_found_too(tracking, monkeypatch):
    with sweep_run("a sweep", {"keys": ["seed"]}) as sweep:
        monkeypatch.setenv("KFP_RUN_ID", "p-1")
        with pipeline_run("p-1", CONFIG, {}, name="seed=1", sweep=sweep.run_id) as point:
            step("evaluation")
    (record,) = found()
    assert record.run_id == point.run_id
    assert set(record.steps) == {"evaluation"}
