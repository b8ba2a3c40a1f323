import itertools
import json
import subprocess
import sys
import threading

import pytest

from longtail.errors import InputError
from longtail.tracking.champions import ChampionChanged, history, promote, rollback
from longtail.tracking.registry import champion, numbered
from longtail.tracking.server import connect

PROMOTE = """
import sys
from longtail.tracking.champions import ChampionChanged, promote
from longtail.tracking.server import connect
try:
    promote(connect(sys.argv[1]), "fish", int(sys.argv[2]), expected=1)
    print("won")
except ChampionChanged as error:
    print("changed", error.current)
"""


class Dying:
    """A client whose server is gone from the k-th call on; that call itself may still be carried out."""

    def __init__(self, client, last, carried_out):
        self.client, self.last, self.carried_out, self.calls = client, last, carried_out, 0

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **options):
            self.calls += 1
            if self.calls == self.last and self.carried_out:
                method(*arguments, **options)
            if self.calls >= self.last:
                raise ConnectionError("the server is gone")
            return method(*arguments, **options)

        return call


def told(client):
    return [(reign.note.version, reign.note.before, reign.note.why) for reign in history(client, "fish")]


@pytest.fixture
def three(tracking, registered):
    """A client; version 1 of three is the champion."""
    for seed in range(3):
        registered(tracking, seed=seed)
    assert promote(tracking, "fish", 1, expected=None)
    return tracking


def test_a_promotion_is_noted_with_who_when_and_why(three):
    assert promote(three, "fish", 2, expected=1, report="models/report.json")
    assert champion(three, "fish").number == 2
    tags = numbered(three, "fish", 2).tags
    assert (tags["promoted_from"], tags["gate_report"]) == ("1", "models/report.json")
    first, second = history(three, "fish")
    assert first.until == second.note.at == tags["promoted_at"] and second.until == ""
    assert told(three) == [(1, None, "bootstrap"), (2, 1, "promotion")]


def test_the_champion_is_not_promoted_again(three):
    before = three.get_registered_model("fish").tags
    assert not promote(three, "fish", 1, expected=None)
    assert three.get_registered_model("fish").tags == before


def test_a_champion_that_changed_in_the_meantime_is_told(three):
    assert promote(three, "fish", 2, expected=1)
    with pytest.raises(ChampionChanged, match="is now version 2") as raised:
        promote(three, "fish", 3, expected=1)
    assert raised.value.current == 2 and champion(three, "fish").number == 2


def test_going_back_goes_back_step_by_step_and_forward_again(three):
    promote(three, "fish", 2, expected=1)
    promote(three, "fish", 3, expected=2)
    assert [rollback(three, "fish").version for _ in range(2)] == [2, 1]
    with pytest.raises(InputError, match="fish has no champion before version 1: there is nothing to go back to"):
        rollback(three, "fish")
    promote(three, "fish", 3, expected=1)
    assert rollback(three, "fish").version == 1
    assert told(three) == [
        (1, None, "bootstrap"),
        (2, 1, "promotion"),
        (3, 2, "promotion"),
        (2, 3, "rollback"),
        (1, 2, "rollback"),
        (3, 1, "promotion"),
        (1, 3, "rollback"),
    ]


def test_an_alias_moved_by_hand_is_noted_and_can_be_undone(three):
    promote(three, "fish", 2, expected=1)
    three.set_registered_model_alias("fish", "champion", "3")
    assert told(three)[-1] == (3, 2, "outside")
    assert rollback(three, "fish").version == 2
    assert [why for _, _, why in told(three)] == ["bootstrap", "promotion", "outside", "rollback"]
    three.delete_registered_model_alias("fish", "champion")
    assert rollback(three, "fish").version == 2
    assert told(three)[-2:] == [(None, 2, "outside"), (2, None, "rollback")]
    three.delete_registered_model_alias("fish", "champion")
    assert promote(three, "fish", 3, expected=None) and told(three)[-2:] == [
        (None, 2, "outside"),
        (3, None, "bootstrap"),
    ]


def test_a_deleted_version_is_not_gone_back_to(three):
    promote(three, "fish", 2, expected=1)
    three.delete_model_version("fish", "1")
    with pytest.raises(InputError, match="version 1 of fish was deleted"):
        rollback(three, "fish")
    assert champion(three, "fish").number == 2


def test_without_a_model_there_is_no_history(tracking):
    with pytest.raises(InputError, match="there is no registered model 'bird'"):
        history(tracking, "bird")


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("change", ["promotion", "rollback"])
def test_a_server_that_dies_at_any_call_leaves_one_champion_and_the_command_repeated_completes(
    tracking, registered, change, carried_out
):
    for seed in range(2):
        registered(tracking, seed=seed)
    promote(tracking, "fish", 1, expected=None)

    def prepare():
        if change == "rollback":
            promote(tracking, "fish", 2, expected=1)
        elif champion(tracking, "fish").number == 2:
            rollback(tracking, "fish")

    def run(client):
        return promote(client, "fish", 2, expected=1) if change == "promotion" else rollback(client, "fish")

    last, survived = 0, False
    while not survived:
        last += 1
        prepare()
        before, dying = told(tracking), Dying(tracking, last, carried_out)
        raised = False
        try:
            run(dying)
        except ConnectionError:
            raised = True
        survived = dying.calls < last
        assert champion(tracking, "fish").number in (1, 2)
        assert told(tracking)[: len(before)] == before and len(told(tracking)) <= len(before) + 1
        if raised:
            run(tracking)
        else:
            promote(tracking, "fish", champion(tracking, "fish").number, expected=None)  # whoever comes next
        assert champion(tracking, "fish").number == {"promotion": 2, "rollback": 1}[change]
        assert told(tracking)[:-1] == before and told(tracking)[-1][2] == change
        tags = tracking.get_registered_model("fish").tags
        notes = [json.loads(text) for tag, text in tags.items() if tag.startswith("history.")]
        assert len(notes) == len(before) + 1 and all(note["done"] for note in notes)
        assert numbered(tracking, "fish", 2).tags["promoted_from"] == "1"
    assert last > 8


def test_of_two_promotions_at_the_same_time_one_wins_and_the_other_sees_it(three, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    workers = [
        subprocess.Popen([sys.executable, "-c", PROMOTE, uri, version], stdout=subprocess.PIPE, text=True)
        for version in ("2", "3")
    ]
    outputs = [worker.communicate(timeout=120)[0].strip() for worker in workers]
    winner = champion(three, "fish").number
    assert sorted(outputs) == [f"changed {winner}", "won"] and outputs.index("won") == winner - 2
    assert told(three) == [(1, None, "bootstrap"), (winner, 1, "promotion")]


@pytest.mark.server
def test_a_server_killed_in_the_middle_of_promotions_leaves_one_champion(mlflow_server, registered):
    client = connect(mlflow_server.uri)
    for seed in range(2):
        registered(client, seed=seed)
    promote(client, "fish", 1, expected=None)
    for delay in (0.1, 0.4):
        killer = threading.Timer(delay, mlflow_server.kill)
        killer.start()
        with pytest.raises(Exception, match=r"Max retries|Connection|refused|aborted"):
            for _ in range(500):
                current = champion(client, "fish").number
                promote(client, "fish", 3 - current, expected=current)
        killer.join()
        mlflow_server.start()
        current = champion(client, "fish").number
        promote(client, "fish", 3 - current, expected=current)
        found = told(client)
        assert found[-1] == (3 - current, current, "promotion")
        assert all(later[1] == earlier[0] for earlier, later in itertools.pairwise(found))
