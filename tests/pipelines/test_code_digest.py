import pytest

from longtail.steps import STEPS
from pipelines import code_digest as module
from pipelines.code_digest import code_digest


@pytest.fixture
def digests(library, monkeypatch):
    """Return the digest of every step from the copied source, as it is now."""
    monkeypatch.setattr(module, "_source", lambda name: _file(library, name))

    def compute():
        module._imports.cache_clear()
        module._is_module.cache_clear()
        return {step: code_digest(step) for step in STEPS}

    yield compute
    module._imports.cache_clear()
    module._is_module.cache_clear()


def _file(library, name):
    path = library.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _changed(before, after):
    return {step for step in STEPS if before[step] != after[step]}


def test_a_copy_has_the_digests_of_the_original(digests):
    assert digests() == {step: code_digest(step) for step in STEPS}


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("data/imagefolder.py", set(STEPS)),
        # Features take their augmentation from the package of the loop, whose `__init__` imports the loop.
        ("training/loop.py", set(STEPS) - {"data_imbalancing", "hessian_analysis"}),
        ("features/extraction.py", set(STEPS) - {"data_imbalancing", "backbone_training", "hessian_analysis"}),
        ("calibration/sampling.py", {"calibrated_sampling", "classifier_retraining"}),
        ("retraining/head.py", {"classifier_retraining"}),
        # The loop penalises curvature.
        ("hessian/lanczos.py", set(STEPS) - {"data_imbalancing"}),
        ("head_curvature/blocks.py", {"head_curvature"}),
        ("evaluation/metrics.py", {"evaluation", "head_curvature"}),
        ("steps/evaluation.py", {"evaluation"}),
        ("steps/execution.py", set(STEPS)),
        ("artifacts.py", set(STEPS)),
    ],
)
def test_a_changed_line_changes_the_steps_that_reach_it_and_no_others(digests, library, file, steps):
    before = digests()
    with (library / file).open("a", encoding="utf-8") as source:
        source.write("# changed\n")
    assert _changed(before, digests()) == steps


def test_a_new_import_inside_a_function_counts(digests, library):
    step = library / "steps" / "data_imbalancing.py"
    step.write_text(
        step.read_text().replace("def run(", "def late():\n    from longtail.retraining import head\n\n\ndef run(")
    )
    before = digests()
    with (library / "retraining" / "head.py").open("a", encoding="utf-8") as source:
        source.write("# changed\n")
    assert _changed(before, digests()) == {"classifier_retraining", "data_imbalancing"}


def test_another_version_of_a_library_changes_every_step(digests, monkeypatch):
    before = digests()
    monkeypatch.setattr(module, "version", lambda name: "0" if name == "torch" else "1")
    assert _changed(before, digests()) == set(STEPS)


def test_every_module_is_reached_by_a_step(library):
    reached = set().union(*(module._reachable(f"longtail.steps.{step}") for step in STEPS))
    for name in ("longtail.data.parquet", "longtail.data.object_store", "longtail.calibration.statistics"):
        assert name in reached
