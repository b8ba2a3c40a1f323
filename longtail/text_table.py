"""Rows of text as aligned lines for a terminal."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first a header, as lines with columns set flush left.

    >>> print(text_table([["name", "value"], ["a", "10"]]))
    name  value
    ----  -----
    a     10
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
