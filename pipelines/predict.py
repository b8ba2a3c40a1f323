"""`longtail predict`: a registered model's classes for a folder, Parquet files or an S3 prefix, in one Parquet file."""

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError
from longtail.storage.client import is_url

if TYPE_CHECKING:
    from longtail.prediction import Predictor, Summary
    from longtail.prediction.batches import Inputs

_HELP = """--model is NAME for the champion of a registered model, NAME@ALIAS, NAME/VERSION, or a models:/... URI.

--data is a folder of images, one or more Parquet files with a column of encoded images, or the s3:// address of
either; for a model that was trained on features, Parquet files of rows. Images become what the model reads as those
of its training data set did: the shorter side resized, the centre cropped, grey or colour as the network needs it.

Killed and given again, the same command goes on where it was. An image that cannot be read is a row without class."""


def add_predict(commands: Any) -> None:
    """Add `predict` to the command line's subparsers."""
    parser = commands.add_parser(
        "predict",
        help="predict images or rows with a registered model",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, metavar="REF", help="NAME, NAME@ALIAS, NAME/VERSION or models:/...")
    parser.add_argument("--data", required=True, metavar="PATH", help="folder, Parquet file or s3://bucket/prefix")
    parser.add_argument("--out", required=True, metavar="FILE.parquet", help="file to write")
    parser.add_argument("--batch-size", type=int, metavar="N", help="inputs of a pass (default: as fit in memory)")
    parser.add_argument("--probabilities", action="store_true", help="also a column with the probability of each class")
    parser.add_argument("--features", action="store_true", help="also a column with the network's features")
    parser.add_argument("--strict", action="store_true", help="end with exit code 2 if an image could not be read")
    parser.set_defaults(command=_predict)


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise InputError(f"--batch-size is {arguments.batch_size}: give at least 1")
    if is_url(arguments.out) or not arguments.out.endswith(".parquet"):
        raise InputError(f"--out is {arguments.out!r}: give a file on this machine that ends in .parquet")
    from longtail.prediction import Options, Predictor, predict
    from longtail.progress import progress
    from longtail.tracking.loading import download, resolve

    logging.getLogger("longtail").setLevel(logging.INFO)
    reference = resolve(arguments.model)
    predictor = Predictor(download(reference.uri))
    inputs = _inputs(predictor, arguments.data)
    size = arguments.batch_size or predictor.batch_size
    options = Options(str(reference), size, arguments.probabilities, arguments.features)
    started, out = time.monotonic(), Path(arguments.out)
    summary = predict(predictor, inputs, out, options, progress("predicted", inputs.unit))
    return _report(summary, inputs.unit, time.monotonic() - started, arguments, str(reference))


def _inputs(predictor: "Predictor", data: str) -> "Inputs":
    from longtail.prediction.batches import REQUESTS, ImageInputs, RowInputs
    from longtail.prediction.sources import open_images

    if predictor.reads_rows:
        return RowInputs(data, predictor.input_shape[0])
    return ImageInputs(open_images(data), predictor.preparation(), REQUESTS if is_url(data) else 0)


def _report(summary: "Summary", unit: str, seconds: float, arguments: argparse.Namespace, model: str) -> int:
    """Return the exit code after printing what was done."""
    output = summary.output
    rate = (
        f"{summary.predicted:,} now, {summary.predicted / seconds:,.0f} {unit}/s" if summary.predicted else "all there"
    )
    print(f"predictions {arguments.out}: {output.rows:,} {unit} by {model} ({rate})")
    if not output.unreadable:
        return 0
    more = output.unreadable - len(output.examples)
    shown = "; ".join(output.examples) + (f" and {more:,} more" if more > 0 else "")
    print(f"unreadable  {output.unreadable:,} of them have no class: {shown}")
    if arguments.strict:
        raise InputError(f"{output.unreadable:,} {unit} could not be read: repair or remove them")
    return 0
