import pytest

from longtail.config import PipelineConfig, PromotionConfig, parse
from longtail.errors import InputError


def test_a_run_registers_nothing_unless_it_is_told_a_name():
    assert PipelineConfig().promotion.model == ""


@pytest.mark.parametrize("level", [0.0, 0.6])
def test_a_level_is_a_probability_of_error(level):
    with pytest.raises(InputError, match=r"^promotion.level is .*: it must be at (least|most) "):
        parse(PromotionConfig, {"level": level}, "promotion")
