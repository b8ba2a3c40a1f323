import pyarrow as pa
import pytest

from longtail.config import TableConfig
from longtail.errors import InputError
from longtail.features.table_columns import Columns, find_columns

LIST, NUMBER, WHOLE, TEXT = pa.list_(pa.float32()), pa.float64(), pa.int64(), pa.string()


def find(columns, config=None, **others):
    schemas = {"a.parquet": pa.schema(columns)} | {
        f"{name}.parquet": pa.schema(value) for name, value in others.items()
    }
    return find_columns(schemas, config or TableConfig())


@pytest.mark.parametrize("kind", [LIST, pa.large_list(NUMBER), pa.list_(pa.float16(), 4), pa.list_(pa.int8())], ids=str)
def test_the_one_column_of_lists_is_the_features(kind):
    assert find({"id": TEXT, "clip": kind, "label": WHOLE}) == Columns(("clip",), True, "label", False, "")


@pytest.mark.parametrize("name", ["features", "embedding"])
def test_of_several_columns_of_lists_the_usual_name_is_taken(name):
    assert find({"tokens": LIST, name: LIST, "label": TEXT, "split": TEXT}) == Columns(
        (name,), True, "label", True, "split"
    )


def test_without_lists_all_other_columns_are_features_but_the_index():
    columns = {"b": NUMBER, "label": WHOLE, "a": WHOLE, "split": TEXT, "c": pa.bool_(), "__index_level_0__": WHOLE}
    assert find(columns) == Columns(("b", "a", "c"), False, "label", False, "split")


def test_named_columns_are_taken_in_their_order():
    columns = {"x": NUMBER, "y": NUMBER, "z": TEXT, "vector": LIST, "label": WHOLE}
    assert find(columns, TableConfig(feature_columns=("y", "x"))).features == ("y", "x")
    assert find(columns, TableConfig(feature_columns=("vector",))) == Columns(("vector",), True, "label", False, "")


def test_labels_and_splits_may_be_dictionaries_and_have_other_names():
    words = pa.dictionary(pa.int32(), TEXT)
    config = TableConfig(label_column="species", split_column="fold")
    assert find({"x": NUMBER, "species": words, "fold": words}, config) == Columns(
        ("x",), False, "species", True, "fold"
    )
    numbers = pa.dictionary(pa.int8(), WHOLE)
    assert not find({"x": NUMBER, "label": numbers}).text


def test_an_empty_name_looks_for_no_splits():
    with pytest.raises(InputError, match=r"a.parquet column 'split' is string: features are numbers"):
        find({"x": NUMBER, "split": TEXT, "label": WHOLE}, TableConfig(split_column=""))
    assert find({"x": NUMBER, "split": WHOLE, "label": WHOLE}, TableConfig(split_column="")).features == ("x", "split")


@pytest.mark.parametrize(
    ("columns", "config", "message"),
    [
        ({"x": NUMBER}, {}, "a.parquet has no column 'label': set table.label_column to one of x$"),
        (
            {"x": NUMBER, "label": NUMBER},
            {},
            "column 'label' is double: table.label_column must hold whole numbers or text",
        ),
        (
            {"x": NUMBER, "label": WHOLE},
            {"split_column": "fold"},
            "no column 'fold': set table.split_column to one of x, l",
        ),
        (
            {"x": NUMBER, "label": WHOLE, "split": WHOLE},
            {},
            "column 'split' is int64: table.split_column must hold text",
        ),
        (
            {"x": NUMBER, "path": TEXT, "label": WHOLE},
            {},
            "column 'path' is string: features are numbers.*feature_columns",
        ),
        ({"x": pa.list_(TEXT), "label": WHOLE}, {}, "column 'x' is list<.*string>: features are numbers"),
        ({"x": pa.struct({"y": NUMBER}), "label": WHOLE}, {}, "column 'x' is struct<.*>: features are numbers"),
        (
            {"x": LIST, "y": LIST, "label": WHOLE},
            {},
            "several columns of lists: set table.feature_columns to one of x, y$",
        ),
        ({"features": LIST, "embedding": LIST, "label": WHOLE}, {}, "to one of features, embedding$"),
        ({"label": WHOLE, "split": TEXT}, {}, "has no columns beside label, split: features are missing"),
        (
            {"x": NUMBER, "label": WHOLE},
            {"feature_columns": ("y",)},
            "no column 'y': set table.feature_columns to one of",
        ),
        (
            {"x": NUMBER, "label": WHOLE},
            {"feature_columns": ("label",)},
            "has 'label', which is the label or the split",
        ),
        ({"x": NUMBER, "label": WHOLE}, {"feature_columns": ("x", "x")}, r"is \['x', 'x'\]: name each column once"),
        (
            {"x": LIST, "y": NUMBER, "label": WHOLE},
            {"feature_columns": ("x", "y")},
            "column 'x' is list<.*or one column of",
        ),
    ],
)
def test_what_is_missing_or_of_another_kind_is_named(columns, config, message):
    with pytest.raises(InputError, match=message):
        find(columns, TableConfig(**config))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"a.parquet has several columns 'x': rename all but one"):
        find([("x", NUMBER), ("x", NUMBER), ("label", WHOLE)])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"y": NUMBER, "label": WHOLE},
            "b.parquet has other features than a.parquet: give files with the same columns",
        ),
        ({"x": LIST, "label": WHOLE}, "b.parquet has other kind of features than a.parquet"),
        ({"x": NUMBER, "label": TEXT}, "b.parquet has other kind of labels than a.parquet"),
        ({"x": NUMBER, "label": WHOLE, "split": TEXT}, "only one of b.parquet and a.parquet has a column 'split'"),
    ],
)
def test_all_files_have_the_same_columns(other, message):
    with pytest.raises(InputError, match=message):
        find({"x": NUMBER, "label": WHOLE}, b=other)
    assert find({"x": NUMBER, "label": WHOLE}, b={"label": WHOLE, "x": WHOLE}).features == ("x",)
