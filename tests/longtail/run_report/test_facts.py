import pytest

from longtail.errors import InputError
from longtail.evaluation.intervals import bootstrap_intervals
from longtail.run_report.facts import read_facts


def test_steps_are_in_the_order_in_which_they_began(facts):
    assert list(facts.steps) == ["data_imbalancing", "evaluation", "head_curvature", "promotion"]


def test_a_step_of_another_run_came_from_the_cache(facts):
    assert facts.cached == ("data_imbalancing",)


def test_what_a_step_said_is_found(facts):
    assert facts.sentence("head_curvature") == "Balancing by crt lowers the trace."
    assert (facts.sentence("evaluation"), facts.sentence("hessian_analysis")) == ("", "")


def test_scores_lie_in_their_intervals(facts):
    assert set(facts.intervals) == {"baseline", "crt"} and set(facts.gains) == {"crt"}
    for name, scores in facts.evaluations.items():
        for group in ("top1", "many", "medium", "few"):
            low, high = facts.intervals[name][group]
            assert low < getattr(scores, group) < high
    low, high = facts.gains["crt"]["few"]
    assert 0 < low < 40 < high  # 8 of 20 images more are right


def test_a_folder_that_holds_no_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_facts(tmp_path)


def test_intervals_are_of_the_predictions_that_are_stored(facts, results):
    from safetensors.numpy import load_file

    tensors = load_file(results / "predictions.safetensors")
    expected = bootstrap_intervals(tensors["labels"], tensors["predictions/crt"], ("many", "medium", "few"))
    assert facts.intervals["crt"] == expected
