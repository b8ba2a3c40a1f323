"""What figures share: colours that readers with colour-blindness can tell apart, sharp pixels, quiet axes.

Figures are built without pyplot, so nothing global is left behind.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#7f7f7f", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Grey, and Okabe and Ito's colours without black and yellow."""
INK = "#333333"
MUTED_INK = "#6a6a6a"
SEPARATOR = "#D55E00"
_PIXELS_PER_INCH = 150


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of this size in inches, at a resolution at which names of 6 points can be read."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_PIXELS_PER_INCH, layout="constrained", facecolor="white")


def colours(number: int) -> list[Any]:
    """Return one colour for each of several methods, grey for the first."""
    if number <= len(OKABE_ITO):
        return list(OKABE_ITO[:number])
    from matplotlib import colormaps

    return [OKABE_ITO[0], *colormaps["viridis"](np.linspace(0.0, 0.95, number - 1))]


def literal(text: str) -> str:
    """Return the text such that matplotlib reads no mathematics between its dollar signs."""
    return text.replace("$", r"\$")


def clip_name(name: str, most: int = 24) -> str:
    """Return a class's name for a figure: no mathematics, and a long one without its middle, to leave room for data.

    >>> clip_name("Amur tiger, Panthera tigris altaica")
    'Amur tiger, Pa…s altaica'
    """
    if len(name) > most:
        end = (most - 1) * 2 // 5
        name = f"{name[: most - 1 - end]}…{name[-end:]}"
    return literal(name)


def quiet(axes: "Axes", values: Literal["x", "y"] = "y") -> None:
    """Leave only what carries information: no frame, faint lines across the axis of the values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=values, color="#d9d9d9", linewidth=0.7)
    axes.set_axisbelow(True)


def legend_above(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend above the axes, in as many columns as fit."""
    characters = 11 * figure.get_figwidth()
    widths = [len(label) + 7 for label in labels]
    columns = len(labels) if sum(widths) <= characters else max(1, int(characters / max(widths)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)
