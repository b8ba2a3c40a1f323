import threading
from argparse import Namespace
from http.server import BaseHTTPRequestHandler, HTTPServer

import docker.errors
import pytest

from longtail.errors import InputError
from pipelines import doctor_images
from pipelines.doctor_finding import NOT_SET, OK, WRONG

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def registry():
    """A registry with `team/longtail` at one digest, and one repository that wants a login."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            known = self.path == f"/v2/team/longtail/manifests/{DIGEST}" and "oci.image" in self.headers["Accept"]
            self.send_response(401 if "private" in self.path else 200 if known else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    asked = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Engine:
    def __init__(self, *names):
        self.images, self.names = self, names

    def get(self, name):
        if name not in self.names:
            raise docker.errors.ImageNotFound(name)


@pytest.fixture
def look(monkeypatch, tmp_path):
    def at(reference, engine=None):
        monkeypatch.setattr(doctor_images, "_engine", lambda: engine)
        monkeypatch.setattr("components.images.image", lambda variant: reference)
        return doctor_images.images(Namespace(policy=""))

    return at


@pytest.mark.parametrize("name", ["longtail/cpu:1", "localhost/longtail/cpu:1"])
def test_an_image_that_was_built_here(look, name):
    assert look("longtail/cpu:1", Engine(name)).message == "longtail/cpu:1 is in the container engine"


def test_an_image_that_was_not_built(look):
    found = look("longtail/cpu:1", Engine())
    assert found.state == WRONG
    assert "not in the container engine, and it names no registry: `make images`, or push it" in found.message


def test_no_engine_and_no_registry(look):
    found = look("longtail/cpu:1")
    assert found.state == NOT_SET
    assert "no container engine answers here" in found.message


def test_a_registry_that_has_it(look, registry):
    reference = f"{registry}/team/longtail@{DIGEST}"
    assert look(reference, Engine()).message == f"{reference} is in its registry"


def test_a_registry_that_does_not(look, registry):
    found = look(f"{registry}/team/longtail:1.0")
    assert found.state == WRONG
    assert f"{registry} does not have it (404): push it, or correct the policy" in found.message


def test_a_registry_that_wants_a_login(look, registry):
    found = look(f"{registry}/private/longtail@{DIGEST}")
    assert found.state == NOT_SET
    assert "wants a login" in found.message


def test_a_registry_that_is_away(look):
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9 does not answer \(ConnectionError\)"):
        look("127.0.0.1:9/team/longtail:1")


def test_the_images_of_a_policy_file(look, registry, monkeypatch, tmp_path):
    look("longtail/cpu:1")
    file = tmp_path / "policy.yaml"
    have, lack = f"{registry}/team/longtail@{DIGEST}", f"{registry}/team/other:1"
    file.write_text(f"images: {{cpu: '{have}'}}\nsteps: {{evaluation: {{image: '{lack}'}}}}\n")
    found = doctor_images.images(Namespace(policy=str(file)))
    assert (found.state, have in found.message, lack in found.message) == (WRONG, False, True)


def test_an_engine_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert doctor_images._engine() is None


def test_the_states_in_order(look):
    assert look("longtail/cpu:1", Engine("longtail/cpu:1")).state == OK
