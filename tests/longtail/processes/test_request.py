import json

import pytest

from longtail.errors import InputError
from longtail.processes.request import Request, raise_failure, telling


def test_every_process_gets_the_same_arguments():
    request = Request({"b": 1, "a": 2}, {"dataset": "d"}, {"backbone": "b"}, 1, 2, "run")
    *module, text = request.arguments
    assert module == ["-m", "longtail.processes.worker"]
    assert Request(**json.loads(text)) == request


@pytest.mark.parametrize(("kind", "raised"), [(InputError, InputError), (ValueError, RuntimeError)])
def test_the_first_failure_is_told_and_raised_again(tmp_path, monkeypatch, kind, raised):
    monkeypatch.setenv("LONGTAIL_FAILURE", str(tmp_path / "failure"))
    for text in ("first", "second"):
        with pytest.raises(kind), telling():
            raise kind(text)
    with pytest.raises(raised, match="first"):
        raise_failure((tmp_path / "failure").read_text(), "two processes failed")


def test_a_failure_that_nobody_told_is_said_by_its_exit_code():
    with pytest.raises(RuntimeError, match=r"^exit code 9$"):
        raise_failure("", "exit code 9")
