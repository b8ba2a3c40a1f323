import json
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch

from longtail.networks import NetworkSpec, build
from longtail.networks.identity import IDENTITY
from longtail.serving import ReferenceStatistics, ServedClassifier
from longtail.tracking import served_model
from longtail.tracking.model import CODE, write_model

CLASSES = ("zero", "one", "two")
SHAPE = (6, 8, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of grey images."""
    classifier = build(NetworkSpec("small_cnn", "cosine", SHAPE, CLASSES, (0.5,), (0.2,)), 0)
    example = np.zeros((2, *SHAPE), np.uint8)
    path = tmp_path_factory.mktemp("images") / "model"
    write_model(path, classifier, example, ReferenceStatistics.empty(3, 64), {"method": "crt"})
    return path


@pytest.fixture(scope="module")
def model(folder):
    import mlflow

    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def of_rows(tmp_path_factory):
    import mlflow

    classifier = build(NetworkSpec(IDENTITY, "linear", (1, 1, 5), CLASSES, (0.0,) * 5, (1.0,) * 5), 0)
    path = tmp_path_factory.mktemp("rows") / "model"
    write_model(path, classifier, np.ones((2, 5), np.float32), ReferenceStatistics.empty(3, 5), {"method": "crt"})
    return mlflow.pyfunc.load_model(str(path)), classifier


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (9, *SHAPE), dtype=np.uint8)


def probabilities(model, given):
    return np.stack(model.predict(given, params={"probabilities": True})["probabilities"])


def refusal(model, given):
    """Return the message of a refusal, which HTTP answers with status 400."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as raised:
        model.predict(given)
    assert raised.value.get_http_status_code() == 400
    assert "\n" not in raised.value.message
    return raised.value.message


def test_the_code_is_that_of_this_package():
    assert served_model.__file__ == str(CODE)


def test_bytes_and_both_kinds_of_floats_are_the_same_image(model, images):
    expected = probabilities(model, images)
    scaled = images / 255
    for given in (scaled, scaled.astype(np.float32), images.astype(np.int64), np.asfortranarray(images)):
        np.testing.assert_allclose(probabilities(model, given), expected, rtol=1e-5, atol=1e-6)


def test_a_row_has_the_class_and_its_probability(model, images):
    answer = model.predict(images)
    assert list(answer) == ["class", "probability"]
    assert answer["probability"].dtype == np.float32
    expected = probabilities(model, images)
    assert answer["class"].tolist() == [CLASSES[index] for index in expected.argmax(1)]
    np.testing.assert_array_equal(answer["probability"], expected.max(1))


def test_lists_are_there_when_they_are_asked_for(model, images):
    answer = model.predict(images, params={"features": True, "probabilities": True})
    assert list(answer) == ["class", "probability", "probabilities", "features"]
    assert np.stack(answer["features"]).shape == (9, 64)
    np.testing.assert_allclose(np.stack(answer["probabilities"]).sum(1), 1, rtol=1e-5)


def test_the_network_never_gets_more_than_a_chunk(model, images, monkeypatch):
    python_model = model.unwrap_python_model()
    graph, sizes = python_model._graph, []
    monkeypatch.setattr(python_model, "_graph", lambda chunk: sizes.append(len(chunk)) or graph(chunk))
    many = np.tile(images, (100, 1, 1, 1))
    answer = model.predict(many)
    assert sizes == [512, 388]
    np.testing.assert_allclose(answer["probability"], np.tile(model.predict(images)["probability"], 100), rtol=1e-5)
    assert model.predict(images[:0]).to_dict("list") == {"class": [], "probability": []}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 6, 7, 1), np.uint8), r"images of shape (N, 6, 8, 1) are wanted: these have shape (2, 6, 7, 1)"),
        (np.zeros(SHAPE, np.uint8), r"images of shape (N, 6, 8, 1) are wanted: these have shape (6, 8, 1)"),
        (np.full((1, *SHAPE), 1.5), "images of type float64 are in [0, 1], these in [1.5, 1.5]"),
        (np.full((1, *SHAPE), -0.1, np.float32), "images of type float32 are in [0, 1], these in [-0.1, -0.1]"),
        (np.full((1, *SHAPE), 256), "images of type int64 are in [0, 255], these in [256, 256]"),
        (np.full((1, *SHAPE), np.nan), "images are finite: 48 numbers of these are not"),
        (np.full((1, *SHAPE), np.inf, np.float32), "images are finite: 48 numbers of these are not"),
        (np.full((1, *SHAPE), "a"), "as numbers: these are <U1"),
        (np.full((1, *SHAPE), True), "as numbers: these are bool"),
        (np.full((1, *SHAPE), 1j), "as numbers: these are complex128"),
        (np.array([[1, 2], [3]], dtype=object), "not all of these have the same size"),
        (np.array([None, 3], dtype=object), "as numbers: these are object"),
    ],
    ids=str,
)
def test_wrong_images_are_refused_in_one_line(model, given, message):
    assert message in refusal(model, given)


def test_rows_are_taken_as_they_are(of_rows):
    model, classifier = of_rows
    rows = np.random.default_rng(0).normal(0, 100, (7, 5)).astype(np.float32)
    with torch.no_grad():
        expected, _ = ServedClassifier(classifier)(torch.from_numpy(rows))
    np.testing.assert_allclose(probabilities(model, rows), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probabilities(model, rows.astype(np.float64)), expected, rtol=1e-5, atol=1e-6)
    assert "rows of shape (N, 5) are wanted: these have shape (7, 4)" in refusal(model, rows[:, :4])
    rows[3, 2] = np.nan
    assert "rows are finite: 1 numbers of these are not" in refusal(model, rows)


def post(port, payload):
    """Return status and answer of a request to predict."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
@pytest.mark.server
def test_a_real_server_answers_and_refuses(servers, folder, model, images, tmp_path):
    class Serve(servers.Mlflow):
        name = "model server"

        def command(self):
            address = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
            return [sys.executable, "-m", "mlflow", "models", "serve", "-m", folder, "--env-manager", "local", *address]

    server = Serve(tmp_path / "serve", variables={"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}).start()
    try:
        expected = model.predict(images).to_dict("records")
        for payload in (
            {"inputs": images.tolist()},
            {"instances": images.tolist()},
            {"inputs": {"images": images.tolist()}},
            {"inputs": (images / 255).tolist()},
            json.loads((folder / "serving_input_example.json").read_text()) | {"inputs": images.tolist()},
        ):
            status, answer = post(server.port, payload)
            assert status == 200, answer
            assert [row["class"] for row in answer["predictions"]] == [row["class"] for row in expected]
            found = [row["probability"] for row in answer["predictions"]]
            np.testing.assert_allclose(found, [row["probability"] for row in expected], rtol=1e-4)
        _, answer = post(server.port, {"inputs": images[:1].tolist(), "params": {"probabilities": True}})
        (row,) = answer["predictions"]
        assert list(row) == ["class", "probability", "probabilities"] and len(row["probabilities"]) == 3
        assert post(server.port, (folder / "serving_input_example.json").read_bytes())[0] == 200
        for payload, message in (
            ({"inputs": images[:, :5].tolist()}, "these have shape (9, 5, 8, 1)"),
            ({"inputs": [images[0].tolist(), images[1, :5].tolist()]}, "not all of these have the same size"),
            ({"inputs": np.full((1, *SHAPE), 2.0).tolist()}, "are in [0, 1]"),
            ({"inputs": np.full((1, *SHAPE), 256).tolist()}, "are in [0, 255]"),
            ({"inputs": np.full((1, *SHAPE), "a").tolist()}, "as numbers"),
            ({"inputs": np.full((1, *SHAPE), np.nan).tolist()}, "are finite"),
            ({"inputs": images[:1].tolist(), "params": {"features": "maybe"}}, "features"),
            ({"pictures": []}, "inputs"),
            (b"{", "JSON"),
        ):
            status, answer = post(server.port, payload)
            assert status == 400 and message in answer["message"], answer
    finally:
        server.kill()
