"""How two runs of the pipeline read in MLflow's own pages."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.ui
SECONDS = 30_000


@pytest.fixture
def look(opened, runs):
    """Return a function that opens a page of the server."""
    return lambda place, **options: opened(f"{runs.uri}/#/{place}", **options)


@pytest.fixture
def overview(runs):
    return f"experiments/{runs.experiment}/runs/{runs.parents[1]}"


def test_the_experiment_lists_both_runs_with_their_steps_below(look, runs, screenshots):
    page = look(f"experiments/{runs.experiment}/runs", width=1700, height=1300)
    for parent in runs.parents:
        name = runs.client.get_run(parent).info.run_name
        expect(page.get_by_text(name).first).to_be_visible(timeout=SECONDS)
    page.locator("[role=row]", has_text=name).get_by_role("button").first.click()
    for step in ("data_imbalancing", "promotion", "run_report"):
        expect(page.get_by_text(step, exact=True).first).to_be_visible(timeout=SECONDS)
    page.screenshot(path=screenshots / "mlflow-experiment.png")


def test_the_run_is_described_in_words_with_its_table_and_children(look, runs, overview, screenshots):
    page = look(overview, width=1700, height=2000)
    expect(page.get_by_text("tailcalib gains most").first).to_be_visible(timeout=SECONDS)
    page.get_by_text("Show more").first.click()
    expect(page.get_by_text("Balancing by tailcalib").first).to_be_visible()
    expect(page.locator("table td", has_text=re.compile(r"^tailcalib$")).first).to_be_visible()
    for step in ("run_report", "calibrated_sampling", "evaluation"):
        expect(page.get_by_text(step, exact=True).first).to_be_visible()
    page.screenshot(path=screenshots / "mlflow-run.png")
    address = page.get_by_role("link", name="tsne.png").get_attribute("href")
    assert runs.children(runs.parents[1])["calibrated_sampling"].info.run_id in address
    with page.context.expect_page() as figure:
        page.get_by_role("link", name="tsne.png").click()
    expect(figure.value.locator("img[src^='blob:'], img[src*='tsne']").first).to_be_visible(timeout=SECONDS)


@pytest.mark.parametrize(
    ("step", "figure"),
    [
        ("data_imbalancing", "class_counts.png"),
        ("backbone_training", "training.png"),
        ("calibrated_sampling", "nearest_classes.png"),
        ("hessian_analysis", "curvature_by_depth.png"),
        ("evaluation", "per_class.png"),
        ("head_curvature", "head_curvature.png"),
    ],
)
def test_a_step_shows_its_figure(look, runs, screenshots, step, figure):
    run = runs.children(runs.parents[1])[step].info.run_id
    page = look(f"experiments/{runs.experiment}/runs/{run}/artifacts/{figure}")
    image = page.locator(f"img[src^='blob:'], img[src*='{figure}']").first
    expect(image).to_be_visible(timeout=SECONDS)
    page.wait_for_function("element => element.naturalWidth > 100", arg=image.element_handle())
    page.screenshot(path=screenshots / f"mlflow-{figure}")


def test_the_report_opens_among_the_run_s_files(look, overview, screenshots):
    page = look(f"{overview}/artifacts/report.html", width=1500, height=1000)
    frame = page.frame_locator("iframe")
    expect(frame.locator("h1")).to_contain_text("Longtail run on digits", timeout=SECONDS)
    expect(frame.locator("img").first).to_be_visible()
    assert frame.locator("img").first.evaluate("image => image.naturalWidth") > 100
    page.screenshot(path=screenshots / "mlflow-report.png")


def test_the_registered_model_s_champion_is_the_second_run_s(look, runs, screenshots):
    champion = runs.client.get_model_version_by_alias("digits", "champion")
    assert champion.version == "2"
    assert champion.run_id == runs.children(runs.parents[1])["classifier_retraining/tailcalib"].info.run_id
    page = look("models/digits", width=1700, height=1300)
    row = page.locator("tr, [role=row]").filter(has_text="Version 2").first
    expect(row).to_be_visible(timeout=SECONDS)
    expect(row).to_contain_text("champion")
    expect(page.locator("tr, [role=row]").filter(has_text="Version 1").first).not_to_contain_text("champion")
    page.screenshot(path=screenshots / "mlflow-model.png")
    page = look("models/digits/versions/2", height=1200)
    expect(page.get_by_text("A classifier by").first).to_be_visible(timeout=SECONDS)
    page.screenshot(path=screenshots / "mlflow-version.png")


def test_a_step_says_what_it_read_and_what_it_found(look, runs, screenshots):
    run = runs.children(runs.parents[1])["evaluation"]
    page = look(f"experiments/{runs.experiment}/runs/{run.info.run_id}", height=1400)
    expect(page.get_by_text("Compare the classifiers").first).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text("digits-test").first).to_be_visible()
    page.screenshot(path=screenshots / "mlflow-step.png")
