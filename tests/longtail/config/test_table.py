import pytest

from longtail.config import HeadConfig, TableConfig, parse
from longtail.errors import InputError
from longtail.networks import HEADS


def test_a_heads_kinds_are_those_that_can_be_built():
    for kind in HEADS:
        assert parse(HeadConfig, {"kind": kind}).kind == kind
    with pytest.raises(InputError, match=r"^head.kind is 'mlp': choose from cosine, linear, cosine_reference$"):
        parse(HeadConfig, {"kind": "mlp"}, "head")


def test_columns_may_come_as_text():
    assert parse(TableConfig, {"feature_columns": "[x, y]"}).feature_columns == ("x", "y")
    assert parse(TableConfig, {"feature_columns": "embedding"}).feature_columns == ("embedding",)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_neither_all_nor_nothing_is_held_out(share):
    with pytest.raises(InputError, match=r"^table.test_share is .*: it must be at (least|most) 0"):
        parse(TableConfig, {"test_share": share}, "table")
