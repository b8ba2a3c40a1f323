import argparse
import os
import ssl
import subprocess

import pytest

from longtail.errors import InputError
from pipelines.kubeflow import UnreachableError, add_connection, connect

TOKEN = "a-token-that-must-stay-one"


def asked(*options):
    parser = argparse.ArgumentParser()
    add_connection(parser)
    return parser.parse_args(options)


def listed(server):
    return server.call(server.runs.run_service_list_runs, page_size=1)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("LONGTAIL_KFP_HOST", "KFP_TOKEN", "LONGTAIL_KFP_NAMESPACE", "LONGTAIL_KFP_CA"):
        monkeypatch.delenv(name, raising=False)


def test_the_option_wins_over_the_variable(kubeflow_server, monkeypatch):
    monkeypatch.setenv("LONGTAIL_KFP_HOST", "http://127.0.0.1:1")
    server = connect(asked("--host", f"{kubeflow_server.url}/"))
    assert (server.host, server.version, server.namespace) == (kubeflow_server.url, "2.17.1", "")


def test_a_token_goes_with_every_request_and_into_no_message(kubeflow_server, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", f"{TOKEN}\n")
    server = connect(asked("--host", kubeflow_server.url))
    kubeflow_server.refusals = [(500, {"message": f"no such thing for bearer {TOKEN}"})]
    with pytest.raises(InputError, match=r"refuses \(500\): no such thing") as error:
        listed(server)
    assert TOKEN not in str(error.value)
    assert {headers["authorization"] for headers in kubeflow_server.headers} == {f"Bearer {TOKEN}"}


def test_a_token_file_is_read_again_at_every_request(kubeflow_server, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    server = connect(asked("--host", kubeflow_server.url, "--token-file", str(file)))
    file.write_text("second\n")
    listed(server)
    assert [headers["authorization"] for headers in kubeflow_server.headers] == ["Bearer first", "Bearer second"]


def test_nobody_is_asked_without_a_token(kubeflow_server):
    listed(connect(asked("--host", kubeflow_server.url)))
    assert all("authorization" not in headers for headers in kubeflow_server.headers)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"does not know who asks \(401\): set KFP_TOKEN to a valid token"),
        (403, r"forbids it \(403\): ask for the right to it"),
        (404, r"refuses \(404\): gone"),
        (302, r"sends elsewhere \(302\): if a login stands before it, set KFP_TOKEN"),
    ],
)
def test_a_refusal_is_one_line(kubeflow_server, status, message):
    server = connect(asked("--host", kubeflow_server.url))
    kubeflow_server.refusals = [(status, {"message": "gone\nand more"})]
    with pytest.raises(InputError, match=message) as error:
        listed(server)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(kubeflow_server.url)


def test_a_server_that_is_busy_is_asked_again(kubeflow_server):
    server = connect(asked("--host", kubeflow_server.url))
    kubeflow_server.refusals = [(503, {}), (429, {})]
    assert listed(server).runs == []


def test_nothing_is_made_twice(kubeflow_server):
    import kfp_server_api as api

    server = connect(asked("--host", kubeflow_server.url))
    kubeflow_server.refusals = [(503, {"message": "away"})]
    with pytest.raises(UnreachableError, match=r"refuses \(503\): away"):
        server.call(server.runs.run_service_create_run, api.V2beta1Run(display_name="x"))
    assert len(kubeflow_server.changes()) == 1


def test_a_dead_server(dead_server):
    with pytest.raises(UnreachableError, match=r"does not answer \(NewConnectionError\): check --host"):
        connect(asked("--host", dead_server))


def test_a_page_in_place_of_the_api(kubeflow_server):
    kubeflow_server.health = "<html>Log in</html>"
    with pytest.raises(InputError, match="answers with a page, not with Kubeflow's API: if a login stands before it"):
        connect(asked("--host", kubeflow_server.url))


def test_too_old_a_server(kubeflow_server):
    kubeflow_server.health["tag_name"] = "2.5.0"
    with pytest.raises(InputError, match=r"is Kubeflow Pipelines 2\.5\.0: 2\.17 or newer is needed"):
        connect(asked("--host", kubeflow_server.url))


@pytest.mark.parametrize(("tag", "version"), [("v2.18.0", "2.18.0"), ("unknown", ""), ("3.0.0-rc.1", "3.0.0-rc.1")])
def test_new_and_unknown_versions_pass(kubeflow_server, tag, version):
    kubeflow_server.health["tag_name"] = tag
    assert connect(asked("--host", kubeflow_server.url)).version == version


def test_many_users_need_a_namespace(kubeflow_server, monkeypatch):
    kubeflow_server.health["multi_user"] = True
    with pytest.raises(InputError, match="serves many users: give --namespace or set LONGTAIL_KFP_NAMESPACE"):
        connect(asked("--host", kubeflow_server.url))
    monkeypatch.setenv("LONGTAIL_KFP_NAMESPACE", "team")
    assert connect(asked("--host", kubeflow_server.url)).namespace == "team"


def test_every_page_is_read(kubeflow_server):
    kubeflow_server.page_limit = 2
    kubeflow_server.items["runs"] = {str(i): {"run_id": str(i)} for i in range(5)}
    server = connect(asked("--host", kubeflow_server.url))
    assert [run.run_id for run in server.every(server.runs.run_service_list_runs, "runs")] == list("01234")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "no Kubeflow Pipelines server is named: give --host"),
        ("kfp.example", "host 'kfp.example' is malformed: give http"),
        ("http://user:word@kfp", r"host 'http://\*\*\*@kfp' is malformed"),
    ],
)
def test_what_is_no_address(host, message):
    with pytest.raises(InputError, match=message):
        connect(asked("--host", host))


@pytest.mark.parametrize(("option", "what"), [("--token-file", "token"), ("--ca", "certificates")])
def test_a_file_that_cannot_be_read(option, what):
    with pytest.raises(InputError, match=rf"{what} file '/no/such' cannot be read \(No such file"):
        connect(asked("--host", "http://127.0.0.1:1", option, "/no/such"))


def test_certificates(kubeflow_server, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=kfp",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    kubeflow_server.server.socket = context.wrap_socket(kubeflow_server.server.socket, server_side=True)
    host = kubeflow_server.url.replace("http:", "https:")
    with pytest.raises(InputError, match=r"does not answer .*--ca"):
        connect(asked("--host", host))
    assert connect(asked("--host", host, "--ca", os.fspath(certificate))).version == "2.17.1"


def test_the_address_of_a_page(kubeflow_server, monkeypatch):
    server = connect(asked("--host", kubeflow_server.url))
    assert server.page("runs/details/1") == f"{kubeflow_server.url}/#/runs/details/1"
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kfp.example/")
    assert server.page("runs/details/1") == "https://kfp.example/#/runs/details/1"
