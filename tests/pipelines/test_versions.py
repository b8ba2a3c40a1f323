import argparse
import re

import pytest

from longtail.settings import resolve
from pipelines.compiled import specification
from pipelines.kubeflow import add_connection, connect
from pipelines.versions import uploaded_version, version_name


@pytest.fixture(scope="module")
def documents():
    return specification(resolve("digits"), "d")


@pytest.fixture
def server(kubeflow_server):
    parser = argparse.ArgumentParser()
    add_connection(parser)
    return connect(parser.parse_args([]))


def test_a_name_that_kubernetes_accepts(documents, monkeypatch):
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "a" * 40 + "-dirty")
    name = version_name(documents)
    assert re.fullmatch(r"longtail-aaaaaaaaaaaa-dirty-[0-9a-f]{12}", name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) and len(name) <= 63


def test_an_installed_package_has_its_release(documents, monkeypatch):
    monkeypatch.setattr("pipelines.versions.git_commit", lambda: "")
    assert re.fullmatch(r"longtail-\d+\.\d+\.\d+-[0-9a-f]{12}", version_name(documents))


def test_other_settings_have_another_name(documents):
    assert version_name(documents) != version_name(specification(resolve("digits"), "e"))


def test_the_pipeline_and_its_version_are_made_once(server, kubeflow_server, documents):
    first, second = (uploaded_version(server, documents) for _ in range(2))
    assert first.pipeline_version_id == second.pipeline_version_id
    assert first.display_name == version_name(documents)
    assert kubeflow_server.changes() == [
        ("POST", "/apis/v2beta1/pipelines"),
        ("POST", "/apis/v2beta1/pipelines/upload_version"),
    ]
    (pipeline,) = kubeflow_server.items["pipelines"].values()
    assert (pipeline["name"], pipeline["display_name"]) == ("longtail", "longtail")
    assert pipeline["description"].startswith("Long-tailed image classification")


def test_other_settings_are_another_version_of_the_same_pipeline(server, kubeflow_server, documents):
    uploaded_version(server, documents)
    uploaded_version(server, specification(resolve("digits"), "e"))
    assert len(kubeflow_server.items["pipelines"]) == 1
    assert len(kubeflow_server.items["versions"]) == 2


def test_the_namespace_of_many_users(kubeflow_server, documents, monkeypatch):
    kubeflow_server.health["multi_user"] = True
    parser = argparse.ArgumentParser()
    add_connection(parser)
    uploaded_version(connect(parser.parse_args(["--namespace", "team"])), documents)
    (pipeline,) = kubeflow_server.items["pipelines"].values()
    assert pipeline["namespace"] == "team"
    assert kubeflow_server.requests[1][2]["namespace"] == "team"
