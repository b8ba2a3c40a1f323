"""The compiled pipeline; `python tests/pipelines/test_compiled.py` writes the golden file again."""

import difflib
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from longtail.config import PipelineConfig, parse, to_dict
from longtail.settings import preset_names, resolve
from pipelines.compiled import arguments, manifests, specification
from pipelines.grid import plan
from pipelines.policy import POLICY
from pipelines.policy_file import read_installation
from pipelines.sweep_pipeline import sweep_specification

GOLDEN = Path(__file__).with_name("longtail.yaml")


def masked() -> str:
    """Return the compiled digits pipeline without what changes from release to release."""
    text = yaml.safe_dump_all(specification(resolve("digits"), "0" * 64), sort_keys=False)
    text = re.sub(r"(image|value): [^\s@:]*/[^\s@]+(@sha256:[0-9a-f]+|:[\w.]+)", r"\1: IMAGE", text)
    return re.sub(r"sdkVersion: \S+", "sdkVersion: VERSION", text)


@pytest.fixture(scope="module")
def documents():
    return specification(resolve("cifar100-lt"), "a" * 64)


def _spec_message():
    from kfp.pipeline_spec import pipeline_spec_pb2

    return pipeline_spec_pb2.PipelineSpec()


def test_it_is_the_golden_file():
    before, after = GOLDEN.read_text(encoding="utf-8").splitlines(), masked().splitlines()
    changes = difflib.unified_diff(before, after, GOLDEN.name, "compiled now", lineterm="", n=4)
    difference = "\n".join(changes)
    assert not difference, f"`python {__file__}` writes the golden file again; what changed:\n{difference}"


def test_the_golden_file_names_no_image_and_no_version():
    text = GOLDEN.read_text(encoding="utf-8")
    assert text.count("image: IMAGE") == text.count("image: ") == text.count("value: IMAGE") == 9
    assert "sdkVersion: VERSION" in text


def test_kubeflows_own_schema_reads_every_field(documents):
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    spec, platform = documents
    message = json_format.ParseDict(spec, _spec_message())
    assert message.pipeline_info.name == "longtail"
    assert json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec()).platforms["kubernetes"]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for executor in executors.values():
        json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def test_that_schema_would_have_rejected_an_unknown_field(documents):
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict(documents[0] | {"unknown": 1}, _spec_message())


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_comes_back_from_its_parameters(preset):
    config = resolve(preset)
    parameters = specification(config, "")[0]["root"]["inputDefinitions"]["parameters"]
    values = {name: entry["defaultValue"] for name, entry in parameters.items()}
    retraining = values["retraining"] | {"methods": values.pop("methods")}
    values = {**values, "retraining": retraining, "start": config.start}
    assert values.pop("data_digest") == ""
    assert parse(PipelineConfig, values) == config


def test_arguments_hold_every_setting_once():
    config = resolve("digits")
    values = arguments(config, "d")
    assert values.pop("data_digest") == "d"
    assert values["methods"] == list(config.retraining.methods)
    assert "methods" not in values["retraining"]
    assert values["backbone"] == to_dict(config)["backbone"]


POLICY_FILE = f"""
images: {{cpu: registry.example/longtail@sha256:{"0" * 64}, cuda: registry.example/longtail-cuda@sha256:{"1" * 64}}}
every_step:
  environment: {{MLFLOW_TRACKING_URI: "https://mlflow.example", AWS_ENDPOINT_URL: "https://s3.example"}}
  secrets:
    - name: our-mlflow
      environment: {{MLFLOW_TRACKING_TOKEN: token}}
    - name: our-s3
      environment: {{AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: key}}
  image_pull_secrets: [our-registry]
steps:
  backbone_training: {{gpu: {{count: 1}}}}
"""
REFERENCES = {"secretAsEnv", "imagePullSecret"}
"""What names a Secret of Kubernetes, and nothing of what is in it."""


@pytest.fixture(scope="module", params=[*preset_names(), "sweep"])
def everything(request, tmp_path_factory):
    """A preset, and a sweep, as compiled with and without a policy file and for both formats, in the open."""
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text(POLICY_FILE)
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2-in-a-uri@mlflow")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-in-a-variable")
        for installation in (None, read_installation(str(file))):
            if request.param == "sweep":
                documents = sweep_specification(plan("digits", [], "0,1"), ["", ""], installation)
            else:
                documents = specification(resolve(request.param), "", installation)
            compiled.append((installation, [*documents, *manifests(documents, "v")]))
    return compiled


def _entries(value, path=()):
    """Return every plain value with the keys that lead to it."""
    if not isinstance(value, (dict, list)):
        return [(path, value)]
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [entry for key, item in pairs for entry in _entries(item, (*path, str(key)))]


def test_no_secret_is_anywhere_but_by_reference(everything):
    secret = re.compile(r"passw|secret|token(?!iz)|credential|access_?key|api_?key|hunter2", re.IGNORECASE)
    for _, documents in everything:
        for path, value in _entries(documents):
            if not REFERENCES & set(path):
                assert not secret.search(f"{path[-1]}={value}"), path
        assert "hunter2" not in json.dumps(documents)


def test_no_path_of_this_machine_is_in_it(everything):
    for _, documents in everything:
        text = json.dumps(documents)
        for place in (os.path.expanduser("~"), str(Path(__file__).parents[2]), "/tmp/"):
            assert f"{place.rstrip('/')}/" not in text


def test_no_image_is_named_by_a_tag_that_moves(everything):
    for installation, documents in everything:
        images = {str(value) for path, value in _entries(documents) if path[-1] == "image"}
        assert images
        for image in images:
            tag = image.rpartition("/")[2].partition(":")[2]
            assert "@sha256:" in image if installation else tag not in ("", "latest", "main", "dev")


def test_secrets_of_the_file_replace_those_of_the_table(everything):
    text = json.dumps(everything[1][1])
    assert "our-mlflow" in text and "longtail-mlflow" not in text
    assert set(everything[1][0].steps) == set(POLICY)


def test_it_is_the_same_every_time():
    assert masked() == masked()


if __name__ == "__main__":
    GOLDEN.write_text(masked(), encoding="utf-8")
