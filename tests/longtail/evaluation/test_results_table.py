import math

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.results_rows import Row, ordered
from longtail.evaluation.results_table import (
    NO_RUNS,
    PUBLISHED_COLUMNS,
    Published,
    Statistic,
    document,
    factors,
    figure_names,
    markdown_table,
    read_published,
    summarise,
)


def row(method, top1, few, seed, **changes):
    values = {
        **{"method": method, "base": "CosineCE", "imbalance_factor": 100.0, "seed": seed, "protocol": "clean"},
        **{"epochs": 38, "top1": top1, "many": 68.0, "medium": 37.5, "few": few, "seconds": 60.0 * seed},
        **{"subset_sha256": "0" * 64, "run_id": f"run-{seed}"},
    }
    return Row(**values | changes)


TRAINED, RETRAINED, FEW = [39.0, 40.0, 44.0], [45.0, 45.0, 51.0], [20.0, 26.0, 23.0]
ROWS = ordered([
    *(row("as trained", top1, 8.0, seed) for seed, top1 in enumerate(TRAINED, 1)),
    *(row("TailCalib", top1, few, seed) for seed, (top1, few) in enumerate(zip(RETRAINED, FEW, strict=True), 1)),
])


def published(**changes):
    values = dict.fromkeys(PUBLISHED_COLUMNS, "")
    values |= {"method": "TailCalibX", "base": "CBD", "top1": "46.59", "source": "a page"}
    return Published(**values | {"imbalance_factor": 100.0, "readme": True} | changes)


def test_means_and_spreads_are_numpys():
    trained, retrained = summarise(ROWS)
    for summary, values in ((trained, TRAINED), (retrained, RETRAINED)):
        assert summary.runs == 3
        assert math.isclose(summary.scores["top1"].mean, np.mean(values))
        assert math.isclose(summary.scores["top1"].sd, np.std(values, ddof=1))
    assert retrained.scores["many"] == Statistic(68.0, 0.0)
    assert retrained.minutes == Statistic(2.0, 1.0)


def test_gains_are_of_each_network_over_itself():
    trained, retrained = summarise(ROWS)
    gains = np.subtract(RETRAINED, TRAINED)
    assert trained.gain is None and trained.gain_few is None
    assert math.isclose(retrained.gain.mean, gains.mean())
    assert math.isclose(retrained.gain.sd, gains.std(ddof=1))
    assert math.isclose(retrained.gain_few.mean, np.mean(FEW) - 8.0)


def test_a_network_that_was_not_evaluated_as_trained_leaves_no_gain():
    assert summarise(ROWS[1:])[1].gain is None
    assert summarise(ROWS[3:])[0].gain is None


def test_one_run_has_no_spread_and_an_empty_group_no_mean():
    (only,) = summarise([row("cRT", 42.9, None, 1, seconds=None)])
    assert only.scores["top1"] == Statistic(42.9, None)
    assert only.scores["few"] is only.minutes is None


def test_different_networks_are_not_averaged():
    rows = ordered([
        row("cRT", 42.0, 1.0, 1),
        row("cRT", 43.0, 1.0, 2, epochs=150),
        row("cRT", 44.0, 1.0, 3, protocol="reference"),
        row("cRT", 45.0, 1.0, 4, imbalance_factor=10.0),
    ])
    assert [summary.runs for summary in summarise(rows)] == [1, 1, 1, 1]
    assert [summary.base for summary in summarise(rows)][:2] == ["CosineCE", "CosineCE (reference)"]


def test_table():
    others = [published(), published(method="a|b", top1="40.3", top1_sd="0.3", note="a note", runs="6", epochs="150")]
    lines = markdown_table(summarise(ROWS), others).splitlines()
    assert lines[0] == "| base | method | epochs | all | gain | many | medium | few | minutes | runs | source |"
    assert lines[2] == (
        "| CosineCE | as trained | 38 | 41.0 ± 2.6 | – | 68.0 ± 0.0 | 37.5 ± 0.0 | 8.0 ± 0.0 "
        "| 2 | 3 | this repository |"
    )
    assert "| TailCalib | 38 | 47.0 ± 3.5 | +6.0 ± 1.0 |" in lines[3]
    assert lines[4] == r"| *CBD* | *a\|b (a note)* | *150* | *40.3 ± 0.3* | – | – | – | – | – | *6* | *a page* |"
    assert lines[5] == "| *CBD* | *TailCalibX* | – | *46.59* | – | – | – | – | – | – | *a page* |"


def test_document_has_a_section_for_each_imbalance_factor():
    text = document(summarise(ROWS), [published(), published(imbalance_factor=10.0)], "results/")
    assert text.index("### Imbalance factor 100") < text.index("### Imbalance factor 10\n")
    assert text.count("](results/") == 2
    for name in figure_names(100.0):
        assert f"](results/{name})" in text
    assert NO_RUNS not in text
    assert text.endswith("|\n")


def test_document_without_runs_says_so():
    assert document([], []).startswith(NO_RUNS)
    assert "![" not in document([], [published()])


def test_factors_fall():
    assert factors(summarise(ROWS), [published(imbalance_factor=10.0), published(imbalance_factor=200.0)]) == [
        *(200.0, 100.0, 10.0)
    ]


HEADER = ",".join(PUBLISHED_COLUMNS)
LINE = 'TailCalibX,CBD,100,150,50.90,,,,,,"a page, of the web",,yes'


def test_published_numbers_keep_their_digits():
    (entry,) = read_published(f"{HEADER}\n{LINE}\n", "p.csv")
    assert (entry.top1, entry.imbalance_factor, entry.source, entry.readme) == (
        "50.90",
        100.0,
        "a page, of the web",
        True,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.csv has the columns ''"),
        (f"{HEADER}\n{LINE},x", "line 2 has 14 cells: a row has 13"),
        (f"{HEADER}\n{LINE}\n{LINE.replace('50.90', '')}", "line 3: top1 is '': give a number"),
        (f"{HEADER}\n{LINE.replace('150', 'many')}", "epochs is 'many': give a number"),
        (f"{HEADER}\n{LINE.replace('100', '')}", "imbalance_factor is '': give a number"),
        (f"{HEADER}\n{LINE.replace('yes', 'maybe')}", "readme is 'maybe': choose from yes, no"),
        (f"{HEADER}\nTailCalibX,CBD,100,150,50.90,,,,,,,,yes", "names no source: say where 'TailCalibX' was published"),
    ],
    ids=["empty", "cells", "accuracy", "epochs", "factor", "readme", "source"],
)
def test_a_damaged_file_of_published_results_is_told_of(text, message):
    with pytest.raises(InputError, match=message):
        read_published(text, "p.csv")
