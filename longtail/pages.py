"""One self-contained HTML page from text, tables and figures: no scripts, nothing loaded from elsewhere.

Pages are shown inside an iframe of a web interface, where neither scripts nor outside resources are sure to work.
"""

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS_PER_INCH = 150
_SECTIONS_WITHOUT_CHOICE = 3
_SECTION = re.compile(r"<section[^>]*>\s*<h2>(.*?)</h2>(.*?)</section>", re.DOTALL)
_NUMBER = re.compile(
    r"[+\-−±]?[\d.,]+([eE][+-]?\d+)?( ± [\d.,]+)?( \([+\-−]?[\d.,]+(–| to )[+\-−]?[\d.,]+\))?\s?%?|–||"
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
)
_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --muted: #57606a; --line: #d8dee4; --strong: #8c959f;
  --code: #f6f8fa; --accent: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --ink: #dfe5eb; --muted: #9aa6b2; --line: #333b44;
  --strong: #6e7a86; --code: #1e242b; --accent: #79b8ff; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 86rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.25rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); font-size: 1.2rem; }
h3 { margin: 1.6rem 0 .4rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; }
nav input { position: absolute; opacity: 0; }
nav span { display: block; padding: .2rem .7rem; border: 1px solid var(--line); border-radius: 1rem; cursor: pointer;
  font-size: .9rem; }
nav span:hover { border-color: var(--strong); }
nav input:checked + span { background: var(--ink); border-color: var(--ink); color: var(--page); }
nav input:focus-visible + span { outline: 2px solid var(--accent); outline-offset: 2px; }
.scroll, figure { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .94rem; overflow-wrap: normal; }
caption, figcaption { color: var(--muted); font-size: .9rem; text-align: left; }
caption { position: sticky; left: 0; padding-bottom: .4rem; max-width: min(46rem, calc(100vw - 2rem)); }
figcaption { position: sticky; left: 0; padding-top: .3rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
thead th { border-bottom: 2px solid var(--strong); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
img { display: block; max-width: max(100%, 38rem); height: auto; border-radius: 6px; }
details { margin: .8rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { margin: .5rem 0; padding: .8rem 1rem; overflow-x: auto; background: var(--code); border-radius: 6px;
  font: .85rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) { img { padding: .6rem; background: #fff; } }
@media (max-width: 40rem) { body { padding: 1rem .8rem 2rem; } h1 { font-size: 1.35rem; }
  th, td { padding: .35rem .55rem; } td:not(.number) { min-width: 8rem; } }
@media print { :root { color-scheme: light; --page: #fff; --ink: #000; --muted: #444; --line: #ccc; --strong: #777;
  --code: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } h2, h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; } .scroll, figure { overflow: visible; } img { max-width: 100%; padding: 0; }
  pre { white-space: pre-wrap; } }
"""


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; a column whose cells are all numbers is set flush right.

    A float is shown with four significant digits and None as a dash; format a cell yourself to have it otherwise.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    caption: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure, with the sentence that stands in for it where it cannot be seen."""

    figure: "Figure"
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Details:
    """A folded block: text as it is, or any JSON value, indented."""

    summary: str
    content: Any


@dataclass(frozen=True)
class Part:
    """What stands in a section of another page that `html_report` wrote, under a smaller heading if it has one.

    Attributes:
        title: That section's heading, or another one; may be empty.
        markup: What stands below it, as `parts` returns it: it is not escaped.
    """

    title: str
    markup: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Text | Table | Plot | Details | Part]


def html_report(title: str, sections: Sequence[Section]) -> str:
    """Return one HTML page that needs nothing else; all text is escaped.

    Where there are more than three sections, one can be chosen at the top. These are no links, as a link to a part of
    a page would replace it by the page around it where it is the `srcdoc` of a frame.

    Args:
        title: Heading of the page.
        sections: Its parts, in order.

    Raises:
        InputError: If a table row has another length than the header, a figure has no alternative text, or a
            detail is not a JSON value.
    """
    body, choice = [f"<h1>{escape(title)}</h1>"], ""
    if len(sections) > _SECTIONS_WITHOUT_CHOICE:
        body.append(_choice(sections))
        choice = "\n".join(
            f"body:has(#show-{place}:checked) section:not(#section-{place}) {{ display: none; }}"
            for place in range(len(sections))
        )
    for place, section in enumerate(sections):
        body.append(f'<section id="section-{place}">\n<h2>{escape(section.title)}</h2>')
        body.extend(_block(block) for block in section.blocks)
        body.append("</section>")
    return "\n".join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{choice}</style>\n</head>\n<body>",
        *body,
        "</body>\n</html>\n",
    ])


def parts(page: str) -> list[Part]:
    """Return the sections of a page that `html_report` wrote, to be put into another one."""
    return [Part(unescape(title), body.strip()) for title, body in _SECTION.findall(page)]


def png(figure: "Figure") -> bytes:
    """Return a figure as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _choice(sections: Sequence[Section]) -> str:
    """Return the buttons, of which one is pressed, that show all sections or a single one."""
    names = {"all": "Everything", **{str(place): section.title for place, section in enumerate(sections)}}
    buttons = [
        f'<label><input type="radio" name="show" id="show-{place}"{" checked" if place == "all" else ""}>'
        f"<span>{escape(name)}</span></label>"
        for place, name in names.items()
    ]
    return "\n".join(['<nav role="radiogroup" aria-label="Show">', *buttons, "</nav>"])


def _block(block: Text | Table | Plot | Details | Part) -> str:
    match block:
        case Part(title, markup):
            return f"<h3>{escape(title)}</h3>\n{markup}" if title else markup
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Table():
            return _table(block)
        case Plot():
            return _plot(block)
        case Details(summary, content):
            return f"<details><summary>{escape(summary)}</summary>\n<pre>{escape(_plain(content))}</pre></details>"


def _plot(plot: Plot) -> str:
    if not plot.alt.strip():
        raise InputError(f"figure {plot.caption!r} has no alternative text: say in `alt` what it shows")
    data = base64.b64encode(png(plot.figure)).decode("ascii")
    width = round(plot.figure.get_figwidth() * 96)
    caption = f"\n<figcaption>{escape(plot.caption)}</figcaption>" if plot.caption else ""
    image = f'<img width="{width}" alt="{escape(plot.alt)}" src="data:image/png;base64,{data}">'
    return f"<figure>\n{image}{caption}\n</figure>"


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise InputError(f"table row {list(row)!r} has {len(row)} cells: the header has {len(table.header)}")
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    numeric = [
        bool(rows) and all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(table.header))
    ]
    marks = [' class="number"' if number else "" for number in numeric]
    names = "".join(
        f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(table.header, marks, strict=True)
    )
    lines = []
    for row in rows:
        cells = [f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(row, marks, strict=True)]
        if row and not numeric[0]:
            cells[0] = f'<th scope="row">{escape(row[0])}</th>'
        lines.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<caption>{escape(table.caption)}</caption>\n" if table.caption else ""
    head = ['<div class="scroll" tabindex="0"><table>', f"{caption}<thead><tr>{names}</tr></thead>", "<tbody>", *lines]
    return "\n".join([*head, "</tbody>", "</table></div>"])


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


def _plain(content: Any) -> str:
    """Return text as it is and any other value as indented JSON."""
    if isinstance(content, str):
        return content
    try:
        return json.dumps(content, indent=2, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"details are not a JSON value ({error}): give text, numbers, lists and dicts") from None
