"""Which columns of a Parquet file are features, labels and splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longtail.config import TableConfig
from longtail.data.problems import listing
from longtail.errors import InputError

LIST_NAMES = ("features", "embedding")
"""Taken before other columns of lists."""
PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        features: One column of lists, or the columns of numbers.
        lists: Whether it is one column of lists.
        label: Column of classes.
        text: Whether classes are text, not whole numbers.
        split: Column of splits; empty if there is none.
    """

    features: tuple[str, ...]
    lists: bool
    label: str
    text: bool
    split: str

    @property
    def keys(self) -> list[str]:
        """Columns of labels and splits."""
        return [self.label, *([self.split] if self.split else [])]


def find_columns(schemas: Mapping[str, Any], config: TableConfig) -> Columns:
    """Return what the columns of a table's files are, which must be the same in all.

    Args:
        schemas: Arrow schema of each file by name, at least one.
        config: Names of columns.

    Raises:
        InputError: If a column is missing, of the wrong kind, or another one in another file.
    """
    found = {name: _columns(schema, config, name) for name, schema in schemas.items()}
    first_name, first = next(iter(found.items()))
    for name, columns in found.items():
        for part, what in (("features", "features"), ("lists", "kind of features"), ("text", "kind of labels")):
            here, there = getattr(columns, part), getattr(first, part)
            if here != there:
                raise InputError(f"{name} has other {what} than {first_name}: give files with the same columns")
        if columns.split != first.split:
            raise InputError(
                f"only one of {name} and {first_name} has a column {config.split_column!r}: give it to both"
            )
    return first


def find_feature_columns(schemas: Mapping[str, Any], config: TableConfig) -> Columns:
    """Return which columns of a table's files are features: one of lists, or those of numbers but labels.

    Args:
        schemas: Arrow schema of each file by name, at least one.
        config: Names of the columns that are none.

    Raises:
        InputError: If there are none, or other ones in another file.
    """
    found = {name: _features(schema, config, name) for name, schema in schemas.items()}
    first_name, first = next(iter(found.items()))
    for name, columns in found.items():
        if columns != first:
            raise InputError(f"{name} has other features than {first_name}: give files with the same columns")
    return first


def _features(schema: Any, config: TableConfig, file: str) -> Columns:
    others = {name for name in schema.names if name in (config.label_column, config.split_column)}
    kinds = {name: schema.field(name).type for name in schema.names}
    if not any(_is_list(kind) for kind in kinds.values()):
        others |= {name for name, kind in kinds.items() if not _is_number(kind)}
    features = _feature_columns(schema, config, file, others)
    return Columns(features, _is_list(kinds[features[0]]), "", False, "")


def _columns(schema: Any, config: TableConfig, file: str) -> Columns:
    import pyarrow as pa

    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise InputError(f"{file} has several columns {twice[0]!r}: rename all but one")
    label, split = _name(schema, config.label_column, "label_column", file), config.split_column
    if split == TableConfig.split_column and split not in schema.names:
        split = ""
    if split:
        _name(schema, split, "split_column", file)
        if not _is_text(schema.field(split).type):
            raise InputError(
                f"{file} column {split!r} is {schema.field(split).type}: table.split_column must hold text; "
                "set it to another column, or to '' if there is none"
            )
    kind = schema.field(label).type
    if not (_is_text(kind) or pa.types.is_integer(_decoded(kind))):
        raise InputError(f"{file} column {label!r} is {kind}: table.label_column must hold whole numbers or text")
    features = _feature_columns(schema, config, file, {label, split})
    lists = _is_list(schema.field(features[0]).type) and len(features) == 1
    for name in features:
        kind = schema.field(name).type
        if not _is_number(kind.value_type if lists else kind):
            raise InputError(
                f"{file} column {name!r} is {kind}: features are numbers, or one column of lists of them; "
                "name the columns to take in table.feature_columns"
            )
    return Columns(features, lists, label, _is_text(schema.field(label).type), split)


def _feature_columns(schema: Any, config: TableConfig, file: str, others: set[str]) -> tuple[str, ...]:
    """Return the columns that are named, else the one of lists, else all but the others."""
    for name in config.feature_columns:
        _name(schema, name, "feature_columns", file)
        if name in others:
            raise InputError(f"table.feature_columns has {name!r}, which is the label or the split: name the features")
    if config.feature_columns:
        if len(set(config.feature_columns)) < len(config.feature_columns):
            raise InputError(f"table.feature_columns is {list(config.feature_columns)}: name each column once")
        return config.feature_columns
    candidates = [name for name in schema.names if name not in others and not name.startswith(PANDAS_INDEX)]
    lists = [name for name in candidates if _is_list(schema.field(name).type)]
    preferred = [name for name in lists if name in LIST_NAMES] if len(lists) > 1 else lists
    if lists and len(preferred) != 1:
        raise InputError(f"{file} has several columns of lists: set table.feature_columns to one of {listing(lists)}")
    if not candidates:
        raise InputError(f"{file} has no columns beside {listing(sorted(filter(None, others)))}: features are missing")
    return tuple(preferred or candidates)


def _name(schema: Any, name: str, setting: str, file: str) -> str:
    if name not in schema.names:
        raise InputError(f"{file} has no column {name!r}: set table.{setting} to one of {listing(schema.names)}")
    return name


def _decoded(kind: Any) -> Any:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(_decoded(kind)) or pa.types.is_large_string(_decoded(kind)))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
