"""The compiled pipeline; `python tests/pipelines/test_compiled.py` writes the golden file again."""

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from longtail.config import PipelineConfig, parse, to_dict
from longtail.settings import preset_names, resolve
from pipelines.compiled import arguments, specification

GOLDEN = Path(__file__).with_name("longtail.yaml")


def masked() -> str:
    """Return the compiled digits pipeline without what changes from release to release."""
    text = yaml.safe_dump_all(specification(resolve("digits"), "0" * 64), sort_keys=False)
    text = re.sub(r"image: [^\s@:]*/[^\s@]+(@sha256:[0-9a-f]+|:[\w.]+)", "image: IMAGE", text)
    return re.sub(r"sdkVersion: \S+", "sdkVersion: VERSION", text)


@pytest.fixture(scope="module")
def documents():
    return specification(resolve("cifar100-lt"), "a" * 64)


def _spec_message():
    from kfp.pipeline_spec import pipeline_spec_pb2

    return pipeline_spec_pb2.PipelineSpec()


def test_it_is_the_golden_file():
    command = "python tests/pipelines/test_compiled.py writes it again"
    assert masked().splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines(), command


def test_the_golden_file_names_no_image_and_no_version():
    text = GOLDEN.read_text(encoding="utf-8")
    assert text.count("image: IMAGE") == text.count("image: ") == 8
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


def test_no_setting_or_variable_could_hold_a_secret(documents):
    secret = re.compile(r"passw|secret|token|credential|access_?key|api_?key", re.IGNORECASE)
    names: list[str] = []

    def collect(value):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            names.append(f"{key}={inner}" if key in ("name", "value") else str(key))
            if isinstance(inner, (dict, list)):
                collect(inner)

    collect(documents)
    assert [name for name in names if secret.search(name)] == []


def test_it_is_the_same_every_time():
    assert masked() == masked()


if __name__ == "__main__":
    GOLDEN.write_text(masked(), encoding="utf-8")
