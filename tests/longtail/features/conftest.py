"""Small tables of features, written by the tests themselves."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def write_table(tmp_path):
    """Return a function that writes columns as a Parquet file with row groups of three rows, and returns its path."""

    def write(columns, name="table.parquet", row_group_size=3):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return write


@pytest.fixture
def lists():
    """Return a function that makes a column of lists from rows (N, D): of any length, or `fixed`, or `large`."""

    def make(rows, kind="fixed", dtype=None):
        rows = np.asarray(rows)
        values = pa.array(rows.ravel(), dtype)
        size = rows.shape[1]
        if kind == "fixed":
            return pa.FixedSizeListArray.from_arrays(values, size)
        array, offset = (pa.ListArray, pa.int32()) if kind == "list" else (pa.LargeListArray, pa.int64())
        return array.from_arrays(pa.array(np.arange(len(rows) + 1) * size, offset), values)

    return make
