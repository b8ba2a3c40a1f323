"""`longtail results` over small MLflow stores that are written as the pipeline writes them."""

import shutil
from pathlib import Path

import pytest

from longtail.config import to_dict
from longtail.errors import InputError
from longtail.evaluation.results_rows import COLUMNS, csv_text, read_rows
from longtail.evaluation.results_table import read_published
from longtail.settings import resolve
from longtail.tracking.lineage import record_cached_step
from longtail.tracking.run import pipeline_run, step_run
from pipelines import results
from pipelines.cli import main
from pipelines.results import BEGIN, END, collect, rendered, with_block

ROOT = Path(__file__).parents[2]
SHA = "70049f10" * 8
METHODS = ("baseline", "tailcalib")
ACCURACY = {"baseline": {"top1": 39.2, "many": 68.0, "medium": 37.1, "few": 8.0}, "tailcalib": {"top1": 45.1}}


@pytest.fixture
def store(home, empty_database, monkeypatch):
    """The URI of a fresh store that runs are logged to."""
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    monkeypatch.setattr("longtail.tracking.identity._SETTLE_SECONDS", 0.0)
    return f"sqlite:///{home / 'mlflow.db'}"


def logged(name, monkeypatch, *overrides, data="cifar100", accuracy=ACCURACY, sources=None):
    """Log a pipeline's run with its steps, or with those of another from the cache; return its id and theirs."""
    config = resolve("cifar100-lt", [f"retraining.methods=[{','.join(METHODS)}]", *overrides])
    monkeypatch.setenv("KFP_RUN_ID", name)
    with pipeline_run(name, to_dict(config), {}) as run:
        for label, source in (sources or {}).items():
            record_cached_step(run, label, source)
        if sources is None:
            sources = dict(_log_steps(data))
        for method in METHODS:
            run.log_metrics({f"test/{method}_{group}": value for group, value in accuracy[method].items()})
    return run.run_id, sources


def _log_steps(data):
    with step_run("data_imbalancing", {}, {}) as step:
        step.log_dataset(f"{data}-train", SHA, "training", "here")
        step.log_dataset(f"{data}-test", SHA, "test", "here")
    yield "data_imbalancing", step.run_id
    with step_run("backbone_training", {}, {}) as step:
        step.log_metrics({"train/seconds": 30.0}, step=38)
        step.log_metrics({"train/total_seconds": 960.0})
    yield "backbone_training", step.run_id
    for method in METHODS:
        with step_run(f"classifier_retraining/{method}", {}, {}) as step:
            step.log_metrics({"head/total_seconds": 0.0 if method == "baseline" else 6.04})
        yield f"classifier_retraining/{method}", step.run_id


def test_collect_writes_a_row_for_each_method(store, monkeypatch, tmp_path, capsys):
    run_id, _ = logged("p-1", monkeypatch, "seed=3")
    out = tmp_path / "new" / "results.csv"
    assert main(["results", "collect", "--out", str(out)]) == 0
    assert out.read_text().splitlines() == [
        "method,base,imbalance_factor,seed,protocol,epochs,top1,many,medium,few,seconds,subset_sha256,run_id",
        f"as trained,CosineCE,100,3,clean,38,39.2,68,37.1,8,960,{SHA},{run_id}",
        f"TailCalib,CosineCE,100,3,clean,38,45.1,,,,966,{SHA},{run_id}",
    ]
    assert capsys.readouterr().out == f"wrote {out}: 2 rows, 2 of them new or changed\n"
    assert [path.name for path in out.parent.iterdir()] == ["results.csv"]
    before = out.read_bytes()
    assert main(["results", "collect", "--tracking-uri", store, "--out", str(out)]) == 0
    assert out.read_bytes() == before
    assert "2 rows, 0 of them new" in capsys.readouterr().out


def test_rows_of_several_stores_and_of_the_file_are_merged(store, monkeypatch, home, empty_database):
    first, _ = logged("p-1", monkeypatch)
    rows, notes = collect([store], [])
    other = home / "other.db"
    shutil.copy(empty_database, other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    second, _ = logged("p-2", monkeypatch, "seed=2")
    both, _ = collect([store, f"sqlite:///{other}"], [])
    assert [row.run_id for row in both] == [first, second, first, second]
    assert collect([f"sqlite:///{other}"], rows) == (both, notes)
    assert collect([store, f"sqlite:///{other}"], [], run_ids=[second])[0] == [both[1], both[3]]
    assert read_rows(csv_text(both), "r.csv") == both


def test_a_run_from_the_cache_repeats_no_row_and_keeps_its_seconds(store, monkeypatch):
    first, sources = logged("p-1", monkeypatch)
    cached, _ = logged("p-2", monkeypatch, sources=sources)
    rows, notes = collect([store], [])
    assert {row.run_id for row in rows} == {first}
    assert notes == []
    (trained, _), _ = collect([store], [], run_ids=[cached])
    assert (trained.seconds, trained.subset_sha256, trained.run_id) == (960.0, SHA, cached)


def test_what_a_run_does_not_say_stays_empty_and_is_told(store, monkeypatch):
    run_id, _ = logged("p-1", monkeypatch, sources={})
    with pytest.raises(InputError, match="no finished resnet32_128 run is 'abc'"):
        collect([store], [], run_ids=["abc"])
    rows, notes = collect([store], [])
    assert rows == []
    assert notes[0].startswith(f"left out run {run_id}: its data set is not known: the run that computed it is gone")
    _, sources = logged("p-2", monkeypatch)
    del sources["backbone_training"]
    unknown, _ = logged("p-3", monkeypatch, "seed=2", sources=sources)
    rows, notes = collect([store], [], run_ids=[unknown])
    assert [row.seconds for row in rows] == [None, None]
    assert notes[0].startswith(f"run {unknown} has rows without seconds: the run that computed it is gone")


@pytest.mark.parametrize(
    ("overrides", "data", "message"),
    [
        ([], "cifar10", "its data set is 'cifar10', not 'cifar100'"),
        (["data.profile=step"], "cifar100", "it is not CIFAR-100-LT: step profile"),
        (["evaluation.few_below=10"], "cifar100", "are not the paper's"),
    ],
    ids=["data", "profile", "thresholds"],
)
def test_another_problem_is_left_out(store, monkeypatch, overrides, data, message):
    logged("p-1", monkeypatch, *overrides, data=data)
    rows, (note,) = collect([store], [])
    assert rows == []
    assert message in note


def test_another_network_is_not_looked_at(store, monkeypatch):
    logged("p-1", monkeypatch, "backbone.network=resnet32")
    assert collect([store], []) == ([], [])


def test_a_data_set_may_have_another_name(store, monkeypatch):
    logged("p-1", monkeypatch, data="CIFAR-100")
    logged("p-2", monkeypatch, "seed=2", data="my images")
    assert len(collect([store], [])[0]) == 2
    assert len(collect([store], [], dataset="my-images")[0]) == 2


def test_runs_that_contradict_each_other_change_nothing(store, monkeypatch, tmp_path, capsys):
    out = tmp_path / "results.csv"
    first, _ = logged("p-1", monkeypatch)
    assert main(["results", "collect", "--out", str(out)]) == 0
    before = out.read_bytes()
    better = {**ACCURACY, "tailcalib": {"top1": 46.0}}
    logged("p-2", monkeypatch, "calibration.n_neighbors=5", accuracy=better)
    capsys.readouterr()
    assert main(["results", "collect", "--out", str(out)]) == 2
    assert "are both TailCalib on CosineCE" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["results", "collect", "--out", str(out), "--run", first]) == 0


def test_averaging_over_other_settings_is_told(store, monkeypatch):
    logged("p-1", monkeypatch)
    logged("p-2", monkeypatch, "seed=2", "calibration.n_neighbors=5")
    _, (note,) = collect([store], [])
    assert "are averaged though they differ in calibration.n_neighbors (2 and 5)" in note


def test_a_setting_chooses_among_the_runs_of_a_sweep(store, monkeypatch):
    logged("p-1", monkeypatch)
    second, _ = logged(
        "p-2", monkeypatch, "calibration.n_neighbors=5", accuracy={**ACCURACY, "tailcalib": {"top1": 46.0}}
    )
    rows, _ = collect([store], [], where=["calibration.n_neighbors=5"])
    assert [row.run_id for row in rows] == [second, second]
    with pytest.raises(InputError, match="did you mean 'n_neighbors'"):
        collect([store], [], where=["calibration.neighbors=5"])
    with pytest.raises(InputError, match=r"'seed' is not a setting: write group\.key=value"):
        collect([store], [], where=["seed"])


README = f"# Title\n\ntext\n\n{BEGIN}\nold\n{END}\n\nmore\n"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with two runs in its CSV file, published numbers and a README."""
    folder = tmp_path / "repository"
    (folder / "results").mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    lines += [f"as trained,CosineCE,100,{seed},clean,38,39.2,68,37.1,8,960,{SHA},run-{seed}" for seed in (1, 2)]
    lines += [f"TailCalib,CosineCE,100,{seed},clean,38,{44.1 + seed},,,24,966,{SHA},run-{seed}" for seed in (1, 2)]
    (folder / results.CSV).write_text("\n".join(lines) + "\n")
    shutil.copy(ROOT / results.PUBLISHED, folder / results.PUBLISHED)
    (folder / "README.md").write_text(README)
    monkeypatch.chdir(folder)
    return folder


def test_table_figures_and_readme(repository, capsys):
    assert main(["results", "table"]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["results/table.md", "results/accuracy_if100.png", "results/gain_if100.png", "README.md"]
    assert printed == [f"wrote {name}" for name in names]
    assert all((repository / name).read_bytes()[:4] == b"\x89PNG" for name in names[1:3])
    readme, table = (repository / "README.md").read_text(), (repository / "results" / "table.md").read_text()
    assert readme.startswith(f"# Title\n\ntext\n\n{BEGIN}\nCIFAR-100-LT") and readme.endswith(f"{END}\n\nmore\n")
    row = "| CosineCE | TailCalib | 38 | 45.6 ± 0.7 | +6.4 ± 0.7 |"
    assert row in readme and row in table
    assert "*46.59*" in readme and "*46.59*" in table
    assert "### Imbalance factor 10\n" in table and "### Imbalance factor 10\n" not in readme
    assert "](results/accuracy_if100.png)" in readme and "](accuracy_if100.png)" in table
    assert sorted(path.name for path in (repository / "results").iterdir()) == [
        *("accuracy_if100.png", "cifar100_lt.csv", "gain_if100.png", "published.csv", "table.md")
    ]
    before = readme, table
    assert main(["results", "table"]) == 0
    assert before == ((repository / "README.md").read_text(), (repository / "results" / "table.md").read_text())


def test_a_readme_without_markers_stays(repository, capsys):
    (repository / "README.md").write_text("# Title\n")
    assert main(["results", "table"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("README.md stays as it is: it has no lines <!--")
    assert (repository / "README.md").read_text() == "# Title\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (README, README.replace("old\n", "new\n")),
        (f"{BEGIN}\n{END}", f"{BEGIN}\nnew\n{END}"),
        ("", None),
        (f"{END}\n{BEGIN}\n", None),
        (f"{BEGIN}\n", None),
        (README + README, None),
    ],
    ids=["between", "empty", "none", "reversed", "open", "twice"],
)
def test_block(text, expected):
    assert with_block(text, "new\n") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "--csv", "none.csv"], "none.csv cannot be read (No such file or directory): give another file"),
        (["table", "--readme", "none.md"], "none.md cannot be read"),
        (["table", "--out", "README.md"], "README.md/table.md cannot be written"),
        (["table", "--csv", "results/published.csv"], "results/published.csv has the columns"),
        (["collect", "--tracking-uri", "sqlite:///none.db"], "none.db; give the database that the runs were logged to"),
        (["collect", "--out", "README.md"], "README.md has the columns"),
    ],
    ids=["csv", "readme", "out", "columns", "store", "overwrite"],
)
def test_bad_input_is_one_line(repository, capsys, arguments, message):
    assert main(["results", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert (repository / "README.md").read_text() == README


def test_the_committed_table_is_what_the_csv_file_gives():
    rows = read_rows((ROOT / results.CSV).read_text(encoding="utf-8"), str(results.CSV))
    published = read_published((ROOT / results.PUBLISHED).read_text(encoding="utf-8"), str(results.PUBLISHED))
    table, block = rendered(rows, published)
    assert (ROOT / "results" / results.TABLE).read_text(encoding="utf-8") == table, "make results writes it again"
    readme = (ROOT / results.README).read_text(encoding="utf-8")
    assert with_block(readme, block) in {readme, None}, "make results writes it again"
