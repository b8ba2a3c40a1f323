import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.evaluation.results_rows import COLUMNS, Row, csv_text, merge, ordered, read_rows, rows_of_run
from longtail.settings import resolve

SHA = "70049f10" * 8


def row(method="as trained", top1=40.0, seed=1, run_id="a", **changes):
    values = {
        **{"method": method, "base": "CosineCE", "imbalance_factor": 100.0, "seed": seed, "protocol": "clean"},
        **{"epochs": 38, "top1": top1, "many": 68.0, "medium": 37.5, "few": 8.0, "seconds": 960.0},
        **{"subset_sha256": SHA, "run_id": run_id},
    }
    return Row(**values | changes)


def test_columns_are_those_of_the_issue():
    assert ",".join(COLUMNS) == (
        "method,base,imbalance_factor,seed,protocol,epochs,top1,many,medium,few,seconds,subset_sha256,run_id"
    )


def test_a_run_has_a_row_for_each_of_its_methods():
    config = resolve("cifar100-lt", ["retraining.methods=[baseline,crt]", "seed=7", "data.imbalance_factor=10"])
    metrics = {
        **{"test/baseline_top1": 39.204999, "test/baseline_many": 68.0, "test/baseline_medium": 37.1},
        **{"test/crt_top1": 42.9, "test/crt_many": 63.4, "test/crt_medium": 42.3, "test/crt_few": 19.6},
    }
    rows = rows_of_run(config, metrics, {"baseline": 960.04, "crt": None}, SHA, "r")
    assert rows[0] == row("as trained", 39.2, 7, "r", imbalance_factor=10.0, medium=37.1, few=None, seconds=960.0)
    assert (rows[1].method, rows[1].few, rows[1].seconds) == ("cRT", 19.6, None)
    del metrics["test/crt_top1"]
    with pytest.raises(InputError, match="no metric test/crt_top1"):
        rows_of_run(config, metrics, {}, SHA, "r")


def test_the_order_is_that_of_the_table():
    rows = [
        row("cRT", imbalance_factor=10.0),
        row("TailCalibX"),
        row("as trained", seed=2),
        row("as trained", epochs=150),
        row("as trained", protocol="reference"),
        row("as trained", base="CE"),
        row("as trained"),
    ]
    by_hand = [5, 6, 2, 1, 4, 3, 0]
    assert ordered(rows) == ordered(rows[::-1]) == [rows[index] for index in by_hand]


def test_new_rows_replace_those_of_their_run_and_leave_the_others():
    kept, old, new = row(), row(run_id="b", seed=2), row(run_id="b", seed=2, top1=41.0)
    assert merge([kept, old], [new]) == [kept, new]
    assert merge([], []) == []
    assert merge(merge([kept], [new]), [kept, new]) == [kept, new]


def test_a_run_from_the_cache_of_another_adds_nothing():
    assert merge([row()], [row(run_id="b", seconds=None)]) == [row()]


def test_runs_that_contradict_each_other_are_named():
    message = "runs a and b are both cRT on CosineCE, imbalance factor 100, 38 epochs, seed 1: collect one of them"
    with pytest.raises(InputError, match=message):
        merge([row("cRT")], [row("cRT", 41.0, run_id="b")])
    other_subset = row("cRT", 41.0, run_id="b", subset_sha256="0" * 64)
    assert len(merge([row("cRT")], [other_subset])) == 2


percent = st.integers(0, 10_000).map(lambda value: value / 100)


@given(
    percent,
    *[st.none() | percent] * 3,
    st.none() | st.integers(0, 10**6).map(lambda value: value / 10),
    st.sampled_from(["CosineCE", 'a "quoted", base\nof two lines', "ü"]),
    st.sampled_from([1.0, 33.3, 100.0]),
)
def test_rows_come_back_from_csv(top1, many, medium, few, seconds, base, factor):
    changes = {"many": many, "medium": medium, "few": few, "seconds": seconds, "base": base, "imbalance_factor": factor}
    rows = ordered([row(top1=top1, **changes), row("cRT")])
    assert read_rows(csv_text(rows), "results.csv") == rows


def test_csv_is_readable():
    assert csv_text([row(few=None)]).splitlines()[1] == (f"as trained,CosineCE,100,1,clean,38,40,68,37.5,,960,{SHA},a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "r.csv has the columns ''"),
        (lambda text: text.replace("run_id", "run"), "they must be method,base"),
        (
            lambda text: text.replace("as trained", "tailcalibx"),
            "line 2: the method is 'tailcalibx': choose from as tr",
        ),
        (lambda text: text.replace(",40,", ",high,"), "line 2: top1 is 'high': give a number"),
        (lambda text: text.replace(",68,", ",nan,"), "line 2: many is 'nan': give a number"),
        (lambda text: text.replace(",a\n", "\n"), "line 2 has 12 cells: a row has 13"),
        (lambda text: text + text.splitlines()[1].replace(",40,", ",41,"), "runs a and a are both as trained"),
    ],
    ids=["empty", "column", "method", "number", "nan", "cells", "twice"],
)
def test_a_damaged_file_is_told_of(change, message):
    with pytest.raises(InputError, match=message):
        read_rows(change(csv_text([row()])), "r.csv")


def test_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        row().top1 = 99.0
