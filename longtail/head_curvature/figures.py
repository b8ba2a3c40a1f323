"""The picture of what balancing a classifier does to the curvature of its last layer."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from longtail.drawing import INK, colours, legend_above, literal, new_figure, quiet
from longtail.head_curvature.blocks import ALL, Block
from longtail.head_curvature.report import HeadCurvature, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELLED = 5  # methods: the numbers above more bars run into each other


def heads_figure(heads: Mapping[str, HeadCurvature]) -> "Figure":
    """Draw trace and top eigenvalue of the last layer and of its rows by class group, one bar for each classifier.

    Where the traces have a residual part, the Gauss-Newton trace stands between them.

    Args:
        heads: Curvature by method, at least one; all with the same groups.

    Returns:
        A figure that belongs to no window.
    """
    panels: dict[str, Callable[[Block], float]] = {"trace": lambda block: block.trace}
    if any(head.has_residual for head in heads.values()):
        panels["Gauss-Newton trace"] = lambda block: block.gauss_newton or 0.0
    panels["top eigenvalue"] = lambda block: block.top_eigenvalue
    figure = new_figure(max(7.0, 3.0 + 1.3 * len(heads)), 1.0 + 2.9 * len(panels))
    every = figure.subplots(len(panels), 1, sharex=True)
    for axes, (label, value) in zip(every, panels.items(), strict=True):
        _draw(axes, heads, value)
        axes.set_ylabel(label)
    blocks = next(iter(heads.values())).blocks
    ticks = ["whole layer" if group == ALL else f"{group}\n{_count(block)}" for group, block in blocks.items()]
    every[-1].set_xticks(range(len(blocks)), ticks, fontsize=11)
    legend_above(figure, *every[0].get_legend_handles_labels())
    return figure


def _draw(axes: "Axes", heads: Mapping[str, HeadCurvature], value: Callable[[Block], float]) -> None:
    """Draw one bar for each block and classifier."""
    width = 0.84 / len(heads)
    for index, (name, head) in enumerate(heads.items()):
        offset = (index - (len(heads) - 1) / 2) * width
        heights = [value(block) for block in head.blocks.values()]
        places = [place + offset for place in range(len(heights))]
        bars = axes.bar(places, heights, width * 0.94, color=colours(len(heads))[index], label=literal(name))
        if len(heads) <= _MOST_LABELLED:
            axes.bar_label(bars, [number(height) for height in heights], padding=2, fontsize=8, color=INK)
    axes.margins(y=0.12)
    axes.axhline(0, color=INK, linewidth=0.8)
    quiet(axes)


def _count(block: Block) -> str:
    return "1 class" if block.classes == 1 else f"{block.classes} classes"
