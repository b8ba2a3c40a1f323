import numpy as np
import pyarrow as pa
import pytest

from longtail.errors import InputError
from longtail.features.table_columns import Columns
from longtail.features.table_values import Labels, feature_block, split_numbers, width

SPLITS = ("train", "validation", "test")


def place(row):
    return f"a.parquet row {100 + row}"


def block(array, size, lists=True):
    batch = pa.record_batch({"x": array} if lists else array)
    return feature_block(batch, Columns(tuple(batch.schema.names), lists, "label", False, ""), size, place)


def all_training(labels, count):
    return labels.classes(np.ones(count, dtype=bool))


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())],
    ids=["string", "large", "dictionary"],
)
def test_text_becomes_numbers_in_the_order_of_letters(kind):
    labels = Labels()
    labels.add(pa.array(["owl", "cat", "owl"], pa.string()).cast(kind), place)
    labels.add(pa.array(["ant", "cat"], pa.string()).cast(kind), place)
    names, classes = all_training(labels, 5)
    assert names == ("ant", "cat", "owl")
    assert classes.tolist() == [2, 1, 2, 0, 1]
    assert classes.dtype == np.int64
    assert labels.label(3) == "ant"


def test_whole_numbers_keep_their_order_and_need_not_count_from_0():
    labels = Labels()
    labels.add(pa.array([100, 9, -5, 9]), place)
    names, classes = all_training(labels, 4)
    assert (names, classes.tolist()) == ((-5, 9, 100), [2, 1, 0, 1])


def test_labels_of_no_training_row_have_no_class():
    labels = Labels()
    labels.add(pa.array([1, 2, 3]), place)
    names, classes = labels.classes(np.array([True, False, True]))
    assert (names, classes.tolist()) == ((1, 3), [0, -1, 1])


def test_words_of_a_dictionary_that_no_row_has_are_no_classes():
    labels = Labels()
    column = pa.DictionaryArray.from_arrays(pa.array([1, 1], pa.int8()), pa.array(["unused", "used", ""]))
    labels.add(column, place)
    assert all_training(labels, 2)[0] == ("used",)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None]),
        pa.array(["a", None]),
        pa.array(["a", ""]),
        pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), pa.array(["a"])),
        pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None])),
    ],
    ids=["number", "text", "empty", "dictionary", "word"],
)
def test_a_row_without_a_label_is_named(column):
    with pytest.raises(InputError, match=r"^a.parquet row 101 has no label: label or drop it$"):
        Labels().add(column, place)


def test_splits_by_number():
    assert split_numbers(pa.array(["test", "train", "validation"]), SPLITS, place).tolist() == [2, 0, 1]


@pytest.mark.parametrize("value", ["dev", None])
def test_a_row_of_another_split_is_named(value):
    with pytest.raises(
        InputError, match=f"^a.parquet row 101 has split {value!r}: choose from train, validation, test$"
    ):
        split_numbers(pa.array(["train", value]), SPLITS, place)


@pytest.mark.parametrize("dtype", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint64()], ids=str)
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_lists_of_every_kind_are_rows(lists, kind, dtype):
    rows = np.arange(12).reshape(4, 3)
    column = lists(rows.astype(dtype.to_pandas_dtype()), kind, dtype)
    found = block(column, 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(block(column.slice(1, 2), 3), rows[1:3])


def test_columns_of_every_kind_are_rows():
    columns = {"a": pa.array([1, 2], pa.int16()), "b": pa.array([0.5, -0.25]), "c": pa.array([True, False])}
    np.testing.assert_array_equal(block(columns, 3, lists=False), np.array([[1, 0.5, 1], [2, -0.25, 0]], np.float32))


def test_width_is_that_of_the_first_row(lists):
    assert width(pa.array([[1.0, 2.0], [3.0]]), place) == 2
    assert width(lists(np.zeros((1, 5))), place) == 5
    for column in (pa.array([[], [1.0]], pa.list_(pa.float32())), pa.array([None, [1.0]], pa.list_(pa.float32()))):
        with pytest.raises(InputError, match=r"^a.parquet row 100 has no features: give every row a list of them$"):
            width(column, place)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_a_feature_that_is_not_finite_in_float32_is_named(lists, value):
    rows = np.zeros((4, 3))
    rows[2, 1] = rows[3, 0] = value
    for column in (lists(rows), lists(rows, "list")):
        with pytest.raises(
            InputError, match=rf"^a.parquet row 102 has {value!r} in x\[1\]: features are finite".replace("+", "\\+")
        ):
            block(column, 3)
    columns = {name: pa.array(rows[:, i]) for i, name in enumerate("abc")}
    with pytest.raises(InputError, match=rf"^a.parquet row 102 has {value!r} in b: ".replace("+", "\\+")):
        block(columns, 3, lists=False)


def test_rows_of_another_length_are_named(lists):
    ragged = pa.array([[1.0, 2.0], [1.0, 2.0], [3.0]])
    with pytest.raises(InputError, match=r"^a.parquet row 102 has 1 features, the first row 2: give every row 2$"):
        block(ragged, 2)
    with pytest.raises(InputError, match=r"^a.parquet row 100 has 3 features, the first row 2: give every row 2$"):
        block(lists(np.zeros((2, 3))), 2)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)], ids=["list", "fixed"])
def test_a_missing_list_or_value_is_named(kind):
    with pytest.raises(InputError, match=r"^a.parquet row 101 has no features: give every row a list of 2$"):
        block(pa.array([[1.0, 2.0], None], kind), 2)
    with pytest.raises(InputError, match=r"^a.parquet row 101 has no value at position 1 of its features"):
        block(pa.array([[1.0, 2.0], [3.0, None]], kind), 2)


def test_a_missing_value_of_a_column_is_named():
    columns = {"a": pa.array([1.0, 2.0]), "b": pa.array([1.0, None])}
    with pytest.raises(InputError, match=r"^a.parquet row 101 has no value in 'b': drop or repair the row$"):
        block(columns, 2, lists=False)
