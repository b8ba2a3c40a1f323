"""The report of a run in a browser: from its file, by day and by night, on a phone, on paper, within a frame."""

from html import escape

import pytest

pytestmark = pytest.mark.ui

CONTRAST = """() => {
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = rgba(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter(
    element => [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const ratios = texts.map(element => {
    const [one, other] = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  });
  return [texts.length, Math.min(...ratios)];
}"""
FIGURES = "() => [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().width])"
OVERFLOW = "() => document.scrollingElement.scrollWidth - window.innerWidth"


def background(page):
    return page.evaluate("() => getComputedStyle(document.body).backgroundColor")


@pytest.fixture
def address(runs):
    return runs.pages[1].as_uri()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("desktop-light", {"color_scheme": "light"}),
        ("desktop-dark", {"color_scheme": "dark"}),
        ("phone", {"width": 390, "height": 844, "device_scale_factor": 2}),
        ("phone-dark", {"width": 390, "height": 844, "device_scale_factor": 2, "color_scheme": "dark"}),
    ],
)
def test_it_shows_everything_and_can_be_read(opened, address, screenshots, name, options):
    page = opened(address, **options)
    page.screenshot(path=screenshots / f"report-{name}.png", full_page=True)
    assert page.problems == []
    assert page.evaluate(OVERFLOW) <= 0
    texts, contrast = page.evaluate(CONTRAST)
    assert texts > 100
    assert contrast >= 4.5
    figures = page.evaluate(FIGURES)
    assert len(figures) >= 10
    for natural, shown in figures:
        assert natural > 0 and shown >= min(natural / 2, 300)


def test_dark_mode_changes_the_page_but_not_what_is_behind_figures(opened, address):
    pages = [opened(address, color_scheme=scheme) for scheme in ("light", "dark")]
    assert [background(page) for page in pages] == ["rgb(255, 255, 255)", "rgb(20, 24, 29)"]
    card = "() => getComputedStyle(document.images[0]).backgroundColor"
    assert pages[1].evaluate(card) == "rgb(255, 255, 255)"


def test_one_section_can_be_chosen(opened, address):
    page = opened(address, height=700)
    headings = page.locator("h2")
    assert page.locator("nav label").count() == headings.count() + 1 >= 11
    page.locator("nav label", has_text="Lineage").click()
    assert [heading.inner_text() for heading in headings.all() if heading.is_visible()] == ["Lineage"]
    assert headings.get_by_text("Lineage").bounding_box()["y"] < 700
    page.keyboard.press("ArrowRight")
    assert [heading.inner_text() for heading in headings.all() if heading.is_visible()] == ["Settings"]
    page.locator("nav label", has_text="Everything").click()
    assert all(heading.is_visible() for heading in headings.all())
    assert page.problems == []


def test_the_gate_s_decision_stands_on_top(opened, address, runs):
    (decision,) = [line for line in runs.outputs[1].splitlines() if "digits" in line and "champion" in line]
    page = opened(address)
    assert decision in page.locator("section").first.inner_text()
    assert page.locator("h2", has_text="Promotion").count() == 1


def test_a_wide_table_scrolls_in_its_own_box(opened, address):
    page = opened(address, width=390, height=844)
    wider = "() => [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert page.evaluate(wider) > 0
    assert page.evaluate(OVERFLOW) <= 0


def test_it_prints_on_white_without_buttons(opened, address, screenshots):
    page = opened(address, color_scheme="dark")
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    page.pdf(path=screenshots / "report.pdf", format="A4")
    assert (screenshots / "report.pdf").read_bytes().startswith(b"%PDF")


def test_it_shows_within_the_frame_of_kubeflow_s_page(opened, runs, tmp_path):
    """Kubeflow's page puts a report into a sandboxed frame as its `srcdoc`."""
    outer = tmp_path / "outer.html"
    text = escape(runs.pages[1].read_text(encoding="utf-8"), quote=True)
    outer.write_text(f'<iframe sandbox="allow-scripts" width="1000" height="600" srcdoc="{text}"></iframe>')
    page = opened(outer.as_uri())
    frame = page.frame_locator("iframe")
    assert frame.locator("h1").inner_text().startswith("Longtail run on digits")
    frame.locator("nav label", has_text="Lineage").click()
    assert frame.locator("h2", has_text="Lineage").is_visible()
    assert not frame.locator("h2", has_text="Timings").is_visible()
    assert page.problems == []
