import json

import pytest

from longtail.claims.records import from_json, kept, to_json
from longtail.errors import InputError


def test_json_and_back(make_run, make_snapshot):
    run = make_run(make_snapshot(1, deep=False), make_snapshot(2), seconds_per_step=0.1)
    assert from_json(json.loads(json.dumps(to_json(run)))) == run
    assert run.last.epoch == 2
    assert [snapshot.epoch for snapshot in run.compared] == [2]


def test_computed_once(make_run, tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return make_run()

    first = kept(tmp_path / "run.json", compute)
    assert kept(tmp_path / "run.json", compute) == first
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail():
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        kept(tmp_path / "run.json", fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is not valid JSON"), ('{"arm": "SGD"}', "is not a run of this release")]
)
def test_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        kept(path, lambda: pytest.fail("must not compute"))
