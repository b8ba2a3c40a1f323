"""Predicting all of a source with one network: batch by batch, in parts, from the first part that is not there yet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from longtail.artifacts import sha256_json
from longtail.errors import InputError
from longtail.locks import exclusive
from longtail.prediction.batches import Batch, Inputs
from longtail.prediction.network import Answer, Predictor
from longtail.prediction.parts import Finished, Parts, finished

PART_ROWS = 1024
"""Inputs of a part, up to the next whole batch: what is predicted again after a kill."""


@dataclass(frozen=True)
class Options:
    """What the output holds and how it is computed.

    Attributes:
        model: Name and version, a column of the output.
        batch_size: Inputs of a forward pass.
        probabilities: Whether there is a column of all probabilities.
        features: Whether there is a column of features.
    """

    model: str
    batch_size: int
    probabilities: bool = False
    features: bool = False

    @property
    def part_rows(self) -> int:
        """Inputs of a part, whole batches."""
        return self.batch_size * -(-PART_ROWS // self.batch_size)


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        output: What the file says of itself.
        predicted: How many inputs this call predicted; the others were there.
    """

    output: Finished
    predicted: int


def predict(
    predictor: Predictor, inputs: Inputs, out: Path, options: Options, progress: Callable[[int, int], None]
) -> Summary:
    """Write what a network says of all inputs to a Parquet file.

    The columns are `path`, with `row` for rows of Parquet files, `class`, `probability` (of that class), `model` and
    `error`; of an image that cannot be read, class and probability are null and `error` says why.

    Args:
        predictor: The network.
        inputs: What is predicted.
        out: The file; it appears when it is complete. One with the same content is left as it is.
        options: What it holds.
        progress: Called with inputs done and inputs in all.

    Returns:
        What was done.

    Raises:
        InputError: If there is nothing to predict, nothing of the first part can be read, or something else is at
            `out`.
    """
    if not len(inputs):
        raise InputError(f"there are no {inputs.unit} to predict: the files are empty")
    _check_place(out)
    key = sha256_json([predictor.digest, inputs.digest, len(inputs), vars(options)])
    with exclusive(out.with_name(f".{out.name}")):
        there = finished(out)
        if there is not None and there.key == key:
            return Summary(there, 0)
        parts, schema = Parts(out, key), _schema(inputs, options)
        start = parts.count()
        for number, columns in enumerate(_parts(predictor, inputs, options, start, progress), start):
            parts.write(number, columns, schema)
        return Summary(parts.finish(schema), max(0, len(inputs) - start * options.part_rows))


def _check_place(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent} cannot be made ({error.strerror}): give another --out") from None
    finished(out)


def _parts(
    predictor: Predictor, inputs: Inputs, options: Options, first: int, progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    """Yield the columns of each part, from one on."""
    done = first * options.part_rows
    if done >= len(inputs):
        return
    progress(done, len(inputs))
    batches = inputs.batches(done, options.batch_size)
    while found := _answers(predictor, batches, options, partial(_advance, progress, done, len(inputs))):
        errors = [error for batch, _ in found for error in batch.errors]
        if done == 0 and all(errors):
            (name,) = inputs.places(0, 1)["path"]
            raise InputError(f"none of the first {len(errors)} {inputs.unit} can be read: {name} {errors[0]}")
        yield {
            **inputs.places(done, done + len(errors)),
            **_columns(predictor, found, options),
            "error": [error or None for error in errors],
        }
        done += len(errors)


def _advance(progress: Callable[[int, int], None], before: int, total: int, count: int) -> None:
    progress(before + count, total)


def _answers(
    predictor: Predictor, batches: Iterator[Batch], options: Options, progress: Callable[[int], None]
) -> list[tuple[Batch, Answer]]:
    """Return the batches of one part with what the network says of them."""
    found: list[tuple[Batch, Answer]] = []
    count = 0
    for batch in islice(batches, options.part_rows // options.batch_size):
        found.append((batch, predictor(batch.inputs)))
        count += len(batch.errors)
        progress(count)
    return found


def _columns(predictor: Predictor, found: list[tuple[Batch, Answer]], options: Options) -> dict[str, Any]:
    """Return the columns that the network fills, null where an input cannot be read."""
    import pyarrow as pa

    readable = np.array([not error for batch, _ in found for error in batch.errors])
    answer = Answer(*(np.concatenate(arrays) for arrays in zip(*(answer for _, answer in found), strict=True)))
    take = pa.array(np.cumsum(readable) - 1, mask=~readable)
    classes = pa.array(predictor.class_names).take(pa.array(answer.probabilities.argmax(axis=1)))
    columns = {
        "class": classes.take(take),
        "probability": pa.array(answer.probabilities.max(axis=1, initial=0)).take(take),
        "model": [options.model] * len(readable),
    }
    for name in ("probabilities", "features"):
        if getattr(options, name):
            columns[name] = _lists(getattr(answer, name)).take(take)
    return columns


def _lists(values: Any) -> Any:
    """Return an array (n, size) as a column of lists."""
    import pyarrow as pa

    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int64)
    return pa.LargeListArray.from_arrays(offsets, values.ravel()).cast(pa.list_(pa.float32()))


def _schema(inputs: Inputs, options: Options) -> Any:
    """Return the Arrow schema of the output."""
    import pyarrow as pa

    lists = {name: pa.list_(pa.float32()) for name in ("probabilities", "features") if getattr(options, name)}
    kinds = {"path": pa.string(), "row": pa.int64()}
    return pa.schema({
        **{name: kinds[name] for name in inputs.places(0, 0)},
        "class": pa.string(),
        "probability": pa.float32(),
        "model": pa.string(),
        **lists,
        "error": pa.string(),
    })
