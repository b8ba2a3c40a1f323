import csv
import itertools

import numpy as np
import pandas as pd
import pytest

from longtail.errors import InputError
from longtail.evaluation.sweep_table import (
    METHODS,
    SCORES,
    Point,
    Spread,
    table_csv,
    table_rows,
    table_text,
    tabulate,
)

K, ALPHA = "calibration.n_neighbors", "calibration.alpha"


def scores(value, few=50.0):
    return {"all": value, "many": 90.0, "medium": 70.0, "few": few}


def random_points(methods=("baseline", "tailcalib"), seeds=(0, 1, 2)):
    random = np.random.default_rng(3)
    return [
        Point(
            {K: k, ALPHA: alpha},
            seed,
            {method: {score: float(random.uniform(0, 100)) for score in SCORES} for method in methods},
        )
        for seed, k, alpha in itertools.product(seeds, ("1", "2"), ("0", "0.1"))
    ]


def test_mean_and_deviation_are_those_of_pandas():
    points = random_points()
    frame = pd.DataFrame([
        {"method": method, "k": point.settings[K], "alpha": point.settings[ALPHA], "seed": point.seed, **found}
        for point in points
        for method, found in point.scores.items()
    ])
    baseline = frame[frame.method == "baseline"].set_index(["k", "alpha", "seed"])
    for score in ("few", "all"):
        frame[f"gain {score}"] = [
            row[score] - baseline.loc[(row.k, row.alpha, row.seed), score] for _, row in frame.iterrows()
        ]
    columns = [*SCORES, "gain few", "gain all"]
    grouped = frame.groupby(["method", "k", "alpha"])[columns]
    means, deviations = grouped.mean(), grouped.std()
    table = tabulate(points)
    assert len(table.rows) == 8
    for row in table.rows:
        for column in columns:
            spread = row.spreads[column]
            if row.method == "baseline" and column.startswith("gain"):
                assert spread is None
                continue
            assert spread.mean == pytest.approx(means.loc[(row.method, *row.values), column])
            assert spread.deviation == pytest.approx(deviations.loc[(row.method, *row.values), column])
            assert spread.seeds == 3


def test_what_a_seed_does_to_both_methods_cancels_in_the_gain():
    points = [
        Point({}, seed, {"baseline": scores(shift, shift), "crt": scores(shift + 2, shift + 5)})
        for seed, shift in enumerate((10.0, 40.0, 70.0))
    ]
    row = tabulate(points).find("crt", {})
    assert row.spreads["all"].deviation == pytest.approx(30)
    assert (row.spreads["gain all"].text("+"), row.spreads["gain few"].text("+")) == ("+2.00 ± 0.00", "+5.00 ± 0.00")


def test_a_single_seed_has_no_deviation():
    table = tabulate([Point({}, 1, {"baseline": scores(80.0), "crt": scores(79.5)})])
    assert table.find("crt", {}).spreads["all"] == Spread(79.5, None, 1)
    assert table_rows(table)[2] == ["crt", "79.50", "90.00", "70.00", "50.00", "+0.00", "-0.50"]


def test_an_empty_group_has_no_value_and_no_gain():
    table = tabulate([Point({}, seed, {"a": scores(80.0, None), "b": scores(81.0, None)}) for seed in (0, 1)])
    header, *rows = table_rows(table)
    assert [row[header.index("few")] for row in rows] == ["–", "–"]
    assert [row[header.index("gain few")] for row in rows] == ["–", "–"]


def test_a_missing_seed_is_left_out_and_counted():
    points = random_points()[:-1]
    table = tabulate(points)
    row = table.find("tailcalib", {K: "2", ALPHA: "0.1"})
    assert (row.seeds, row.spreads["gain all"].seeds) == (2, 2)
    header, *rows = table_rows(table)
    assert header[-1] == "seeds"
    assert sorted(row[-1] for row in rows) == ["2", "2", *["3"] * 6]
    assert table_rows(tabulate(random_points()))[0][-1] != "seeds"


def test_a_gain_needs_the_first_method_at_the_same_seed():
    points = [
        Point({}, 0, {"baseline": scores(10.0), "crt": scores(15.0)}),
        Point({}, 1, {"crt": scores(99.0)}),
    ]
    spreads = tabulate(points).find("crt", {}).spreads
    assert (spreads["all"].seeds, spreads["gain all"]) == (2, Spread(5.0, None, 1))


def test_rows_are_by_method_then_by_setting():
    table = tabulate(random_points())
    assert [(row.method, *row.values) for row in table.rows[:5]] == [
        *(("baseline", k, alpha) for k in "12" for alpha in ("0", "0.1")),
        ("tailcalib", "1", "0"),
    ]
    assert table.values == {K: ("1", "2"), ALPHA: ("0", "0.1")}


def test_a_method_that_nothing_swept_touches_has_one_row():
    points = [
        Point({K: k}, seed, {"baseline": scores(50.0 + seed), "tailcalib": scores(60.0 + seed * int(k))})
        for seed in (0, 1)
        for k in ("1", "2")
    ]
    header, *rows = table_rows(tabulate(points))
    assert header[:3] == ["method", K, "all"]
    assert [row[:3] for row in rows] == [
        ["baseline", "any", "50.50 ± 0.71"],
        ["tailcalib", "1", "60.50 ± 0.71"],
        ["tailcalib", "2", "61.00 ± 1.41"],
    ]


def test_lists_of_methods_are_one_setting():
    points = [
        Point({METHODS: "[baseline,crt]", K: "1"}, 0, {"baseline": scores(50.0), "crt": scores(52.0)}),
        Point({METHODS: "[baseline,tailcalib]", K: "1"}, 0, {"baseline": scores(50.0), "tailcalib": scores(55.0)}),
        Point({METHODS: "[modals]", K: "1"}, 0, {"modals": scores(53.0)}),
    ]
    table = tabulate(points)
    assert (table.keys, table.methods) == ((K,), ("baseline", "crt", "tailcalib", "modals"))
    gains = [row.spreads["gain all"] for row in table.rows]
    assert gains == [None, *(Spread(value, None, 1) for value in (2.0, 5.0, 3.0))]


def test_text_is_aligned():
    lines = table_text(tabulate(random_points())).splitlines()
    assert len(lines) == 10
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"-", " "}
    end = lines[0].index(" all ") + len(" all")
    assert all(line[end - 1].isdigit() and line[end] == " " for line in lines[2:])


def test_csv_holds_every_row_in_full():
    table = tabulate(random_points())
    rows = list(csv.DictReader(table_csv(table).splitlines()))
    assert len(rows) == len(table.rows) == 8
    for row, found in zip(rows, table.rows, strict=True):
        assert (row["method"], row[K], row[ALPHA]) == (found.method, *found.values)
        assert float(row["few_mean"]) == found.spreads["few"].mean
        assert float(row["few_sd"]) == found.spreads["few"].deviation
        assert row["all_seeds"] == "3"
    assert (rows[0]["gain_all_mean"], rows[0]["gain_all_seeds"]) == ("", "0")


def test_results_of_different_sweeps_are_refused():
    with pytest.raises(InputError, match="the sweep has 0 results"):
        tabulate([])
    points = [Point({K: "1"}, 0, {"a": scores(1.0)}), Point({ALPHA: "1"}, 0, {"a": scores(1.0)})]
    with pytest.raises(InputError, match=f"of the settings {ALPHA}, the first of {K}: give results of one sweep"):
        tabulate(points)
