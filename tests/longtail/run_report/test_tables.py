import dataclasses

from longtail.run_report.tables import lineage, methods_rows, timings


def test_every_score_has_its_interval_and_every_gain_its_own(facts):
    header, baseline, crt = methods_rows(facts)
    assert header == ["classifier", "all", "many", "medium", "few", "gain: all", "gain: few"]
    low, high = facts.intervals["crt"]["few"]
    assert crt[4] == f"60.0 ({low:.1f}–{high:.1f})"
    low, high = facts.gains["crt"]["few"]
    assert crt[6] == f"+40.0 ({low:+.1f} to {high:+.1f})"
    assert baseline[5:] == ["–", "–"]


def test_a_group_without_classes_has_no_column(facts):
    none = {name: dataclasses.replace(scores, few=None) for name, scores in facts.evaluations.items()}
    header, *rows = methods_rows(dataclasses.replace(facts, evaluations=none))
    assert header == ["classifier", "all", "many", "medium", "gain: all"]
    assert {len(row) for row in rows} == {5}


def test_timings_add_up(facts):
    table = timings(facts)
    assert [row[0] for row in table.rows] == list(facts.steps)
    assert table.rows[0] == ["data_imbalancing", "60.0", "1970-01-01 00:00:10", "from the cache"]
    assert sum(float(row[1]) for row in table.rows) == 66.0


def test_lineage_names_run_commit_seed_and_digest(facts):
    first, _, curved, _ = lineage(facts).rows
    assert first == ["data_imbalancing", "from the cache", "run-1", "0123456789ab-dirty", "3", "out abababababab"]
    assert curved[2] is None  # tracking was off


def test_images_have_a_column_if_steps_ran_in_any(facts):
    assert "image" not in lineage(facts).header
    in_one = {
        name: {**made, "image": "longtail@sha256:0" * (name == "evaluation")} for name, made in facts.steps.items()
    }
    table = lineage(dataclasses.replace(facts, lineage=in_one))
    assert table.header[-1] == "image"
    assert [row[-1] for row in table.rows] == [None, "longtail@sha256:0", None, None]
