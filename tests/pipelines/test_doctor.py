import json

import pytest

from longtail.errors import InputError
from pipelines import doctor
from pipelines.cli import main
from pipelines.doctor_finding import NOT_SET, NOTE, OK, WRONG, Finding

NAMES = ["tracking", "artifacts", "s3", "kubeflow", "clock", "images", "gpu", "disk"]


@pytest.fixture(autouse=True)
def laptop(monkeypatch, home):
    """A machine where nothing is set."""
    for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "LONGTAIL_CHECKPOINTS", "LONGTAIL_KFP_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipelines.doctor_images._engine", lambda: None)
    monkeypatch.setattr("components.images.image", lambda variant: f"longtail/{variant}:1")


def test_a_laptop_where_nothing_is_set_is_well(capsys, home):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert list(findings) == NAMES
    states = {name: finding["state"] for name, finding in findings.items()}
    assert {name for name, state in states.items() if state == NOT_SET} >= {
        *("tracking", "artifacts", "s3", "kubeflow", "clock", "images")
    }
    assert states["disk"] in (OK, NOTE)
    assert not home.exists()


def test_one_line_for_each(capsys):
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:19].strip() for line in lines] == NAMES
    assert lines[0].startswith("not set  tracking   MLFLOW_TRACKING_URI: ")


def _failing(error):
    def check(arguments):
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("no bucket"), "no bucket"),
        (RuntimeError("bearer abcdefghijkl\nand more"), "RuntimeError: bearer *** and more"),
    ],
)
def test_a_check_that_fails_is_a_finding_and_the_others_go_on(monkeypatch, capsys, error, message):
    monkeypatch.setattr("pipelines.doctor_services.s3", _failing(error))
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert f"wrong    s3         {message}\n" in printed
    assert "disk" in printed


@pytest.mark.parametrize(("state", "code"), [(OK, 0), (NOT_SET, 0), (NOTE, 0), (WRONG, 1)])
def test_only_what_is_wrong_fails(monkeypatch, state, code):
    monkeypatch.setattr(doctor, "examine", lambda arguments: {"x": Finding(state, "so")})
    assert main(["doctor"]) == code
