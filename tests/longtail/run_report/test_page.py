import re

from matplotlib.figure import Figure

from longtail.pages import Details, Plot, Section, Text, html_report
from longtail.run_report.page import SECTIONS, run_page
from longtail.steps.registry import PAGES


def page(name):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    sections = [Section("Numbers & more", [Text(f"about {name} <b>"), Plot(figure, name)])]
    return html_report(name, [*sections, Section("Settings", [Details(name, {"a": 1})])])


def test_every_page_that_a_step_may_give_has_its_place():
    assert tuple(SECTIONS) == PAGES


def test_sections_are_in_order_and_settings_come_last(facts):
    text = run_page(facts, {name: page(name) for name in reversed(SECTIONS)})
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == ["Summary", *SECTIONS.values(), "Timings", "Lineage", "Settings"]
    assert text.count("<h3>Numbers &amp; more</h3>") == text.count("<img") == len(SECTIONS)
    assert "about data &lt;b&gt;" in text
    assert [text.index(f"about {name} ") for name in SECTIONS] == sorted(
        text.index(f"about {name} ") for name in SECTIONS
    )
    assert text.index("<summary>data</summary>") > text.index("<h2>Settings</h2>")
    assert re.findall(r"<span>(.*?)</span>", text) == ["Everything", *headings]


def test_a_part_that_is_called_as_the_whole_has_no_heading_and_equal_settings_stand_once(facts):
    settings = Section("Settings", [Details("hessian", {"probes": 2})])
    first = html_report("t", [Section(SECTIONS["curvature"], [Text("by depth")]), settings])
    second = html_report("t", [Section("Numbers", [Text("by head")]), settings])
    text = run_page(facts, {"curvature": first, "head_curvature": second})
    assert re.findall(r"<h3>(.*?)</h3>", text) == ["Numbers"]
    assert text.count("<summary>hessian</summary>") == 1


def test_a_page_that_is_not_given_has_no_section(facts):
    text = run_page(facts, {"data": page("data")})
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Summary", "Data", "Timings", "Lineage", "Settings"]


def test_the_summary_and_the_table_come_first(facts):
    summary = run_page(facts, {"data": page("data")}).partition('<section id="section-1">')[0]
    assert "Version 2 is the champion" in summary
    assert '<th scope="row">crt</th>' in summary
    assert "+40.0 (" in summary


def test_equal_runs_have_equal_pages(facts):
    given = {"data": page("data")}
    assert run_page(facts, given) == run_page(facts, given)
