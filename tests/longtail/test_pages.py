import base64
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from longtail.errors import InputError
from longtail.pages import Details, Part, Plot, Section, Table, Text, html_report, parts, png

HOSTILE = """<script>alert("1")</script> & 'quoted'"""


class Page(HTMLParser):
    """Collects tags and text, and checks that every tag is closed in order."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.cells, self.text = [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.cells.append(data)


def plot():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    return figure


def test_everything_is_escaped_and_well_nested():
    blocks = [
        Text(HOSTILE),
        Table([HOSTILE, "n"], [[HOSTILE, 1]], HOSTILE),
        Plot(plot(), HOSTILE, HOSTILE),
        Details(HOSTILE, {HOSTILE: [HOSTILE]}),
        Details("log", HOSTILE),
    ]
    page = Page(html_report(HOSTILE, [Section(HOSTILE, blocks)]))
    assert "script" not in [tag for tag, _ in page.tags]
    assert [tag for tag, _ in page.tags].count("section") == 1
    assert dict(page.tags)["img"]["alt"] == HOSTILE
    assert "".join(page.text).count("alert(") == 12


def test_nothing_comes_from_outside():
    source = html_report("t", [Section("s", [Plot(plot(), "a line")])])
    links = re.findall(r"(?:src|href|url)\s*[=(]\s*\W?([^\"')]*)", source)
    assert len(links) == 1
    assert links[0].startswith("data:image/png;base64,")
    assert "://" not in source
    assert "default-src 'none'" in source


def test_sections_of_one_page_become_parts_of_another():
    inner = html_report("inner", [Section(HOSTILE, [Text(HOSTILE), Plot(plot(), "a line")]), Section("empty", [])])
    found = parts(inner)
    assert [part.title for part in found] == [HOSTILE, "empty"]
    source = html_report("outer", [Section("s", [*found, Part("", found[0].markup)])])
    page = Page(source)
    assert [tag for tag, _ in page.tags].count("h3") == 2
    assert [tag for tag, _ in page.tags].count("section") == 1
    assert "script" not in [tag for tag, _ in page.tags]
    assert source.count(found[0].markup) == 2
    assert parts("<p>another page</p>") == []


@pytest.mark.parametrize(("sections", "buttons"), [(3, 0), (4, 5)])
def test_a_long_page_begins_with_a_choice_of_its_sections(sections, buttons):
    source = html_report("t", [Section(f"s{place}", []) for place in range(sections)])
    page = Page(source)
    given = [attributes["id"] for tag, attributes in page.tags if tag == "input"]
    places = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert places == [f"section-{place}" for place in range(sections)]
    assert given == ["show-all", *(f"show-{place}" for place in range(sections))][:buttons]
    for place in range(sections if buttons else 0):
        assert f"body:has(#show-{place}:checked) section:not(#section-{place}) " in source
    assert "<a " not in source


def test_figure_is_the_png():
    source = html_report("t", [Section("s", [Plot(plot(), "a line")])])
    data = re.search(r"base64,([^\"]+)", source).group(1)
    assert base64.b64decode(data) == png(plot())
    assert 'width="192"' in source


def test_numbers_are_flush_right_and_names_head_their_row():
    rows = [["CE", "62.50 ± 0.31", "–", 3], ["cRT", "75.00 (73.1–76.9)", "+12.50 (-1.5 to +26.1)", None]]
    page = Page(html_report("t", [Section("s", [Table(["method", "all", "gain", "n"], rows)])]))
    assert page.cells == ["method", "all", "gain", "n", "CE", "62.50 ± 0.31", "–", "3", "cRT", *rows[1][1:3], "–"]
    cells = [attributes for tag, attributes in page.tags if tag in ("td", "th")]
    assert cells[4] == {"scope": "row"}
    assert cells[5:8] == [{"class": "number"}] * 3
    assert cells[0] == {"scope": "col"}


def test_floats_are_short_and_empty_tables_stand():
    table = Table(["x", "y"], [[0.123456, float("nan")], [1e-9, float("inf")]])
    page = Page(html_report("t", [Section("s", [table, Table(["only"], [])])]))
    assert page.cells == ["x", "y", "0.1235", "nan", "1e-09", "inf", "only"]


def test_details_show_json_as_it_would_be_written():
    page = Page(html_report("t", [Section("s", [Details("settings", {"rate": 0.1, "name": "é"})])]))
    assert '{\n  "rate": 0.1,\n  "name": "é"\n}' in page.text


def test_same_input_gives_the_same_bytes():
    sections = [Section("s", [Plot(plot(), "a line"), Text("x")])]
    assert html_report("t", sections) == html_report("t", sections)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Table(["a", "b"], [[1]]), r"row \[1\] has 1 cells: the header has 2"),
        (Plot(plot(), " ", "curve"), "'curve' has no alternative text"),
        (Details("x", {"a": object()}), "not a JSON value"),
    ],
)
def test_wrong_blocks_are_refused(block, message):
    with pytest.raises(InputError, match=message):
        html_report("t", [Section("s", [block])])
