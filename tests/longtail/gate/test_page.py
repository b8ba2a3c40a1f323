import numpy as np

from longtail.config.promotion import PromotionConfig
from longtail.gate import decide
from longtail.gate.page import gate_page, gate_table


def test_the_page_and_the_table_tell_every_criterion(model):
    rng = np.random.default_rng(0)
    decision = decide(model(rng, 0.3), model(rng, name="fish/1"), PromotionConfig())
    page, table = gate_page(decision), gate_table(decision)
    rise, found = decision.criteria[1], decision.differences["few"]
    assert decision.sentence.split(":")[0] in page and page.count("<img") == 1
    assert f"{found.points:+.2f}" in page and "90 % intervals" in page
    names = [line.split()[0] for line in table.splitlines()]
    assert names[0] == "criterion" and names[2:] == ["evidence", "rise", "overall", "classes"]
    assert f"{rise.measured:+.2f}" in table and f"[{rise.low:+.2f}, {rise.high:+.2f}]" in table


def test_without_evidence_there_is_no_figure(model):
    page = gate_page(decide(model(np.random.default_rng(0)), None, PromotionConfig()))
    assert "<img" not in page and "promotion.bootstrap is not set" in page
