"""The pipeline with a step that promotes."""

import json

import pytest

from longtail.errors import InputError
from longtail.settings import resolve
from pipelines.compiled import arguments, specification

MODEL = "promotion.model=fish"


def compiled(*settings, features=""):
    return specification(resolve("", settings, features=features), "0" * 64)[0]


def inputs(specification, name):
    task = specification["root"]["dag"]["tasks"][name]
    return {key: value["taskOutputArtifact"] for key, value in task["inputs"].get("artifacts", {}).items()}


def test_it_is_there_only_with_a_name_and_is_never_cached():
    assert "promotion" not in compiled()["root"]["dag"]["tasks"]
    tasks = compiled(MODEL)["root"]["dag"]["tasks"]
    assert tasks["promotion"]["cachingOptions"] == {}
    assert "promotion" not in compiled()["root"]["dag"]["tasks"]


def test_it_comes_after_all_analyses_and_before_the_report_which_shows_its_page():
    document = compiled(MODEL)
    given = inputs(document, "promotion")
    assert set(given) == {"results", "head_curvature", "features", "curvature", "dataset"}
    after = set(document["root"]["dag"]["tasks"]["promotion"]["dependentTasks"])
    assert {"evaluation", "hessian-analysis", "head-curvature"} <= after
    assert inputs(document, "run-report")["promotion_page"]["producerTask"] == "promotion"
    assert "promotion_page" not in inputs(compiled(), "run-report")


def test_from_features_it_has_neither_images_nor_their_curvature():
    document = compiled(MODEL, features="table.parquet")
    assert set(inputs(document, "promotion")) == {"results", "head_curvature", "features"}


def test_its_settings_are_compiled_in_and_no_parameters():
    config = resolve("", [MODEL, "promotion.flatness=1.5"])
    assert "promotion" not in arguments(config, "0" * 64)
    document = specification(config, "0" * 64)[0]
    constant = document["root"]["dag"]["tasks"]["promotion"]["inputs"]["parameters"]["config"]
    assert constant["runtimeValue"]["constant"]["flatness"] == 1.5 and "fish" in json.dumps(constant)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            (MODEL, "promotion.method=modals"),
            r"^promotion.method is 'modals': choose from retraining.methods, ",
        ),
        (("promotion.model=a b",), r"^promotion.model is 'a b'"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_anything_runs(settings, message):
    with pytest.raises(InputError, match=message):
        compiled(*settings)
