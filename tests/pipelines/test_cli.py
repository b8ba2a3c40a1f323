import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longtail.artifacts import read_json
from longtail.data.dataset import Dataset
from longtail.steps import STEPS
from pipelines import local
from pipelines.cli import main

COMMANDS = [
    "run",
    "sweep",
    "compile",
    "ui",
    "results",
    "claims",
    "predict",
    *(step.replace("_", "-") for step in STEPS),
]


@pytest.fixture
def refused(capsys):
    """Check that a command ends with exit code 2 and exactly one line on stderr; return the line."""

    def check(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]

    return check


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)], ids=" ".join)
def test_help_of_every_command(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: longtail")
    for name in COMMANDS if not command else ["--help"]:
        assert name in text


def test_help_in_a_process_of_its_own_is_quick(tmp_path):
    """Nothing heavy is imported before it is needed."""
    code = "import sys; from pipelines.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'mlflow', 'kfp', 'pandas', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["run", "compile"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "digit"], "'digit' is not a preset: did you mean 'digits'?"),
        (["--set", "backbone.epocs=3"], "did you mean 'epochs'?"),
        (["--set", "backbone.epochs=2.5"], "backbone.epochs is 2.5: give a whole number"),
        (["--set", "backbone.epochs=0"], "it must be at least 1"),
        (["--set", "backbone.network=resnet"], "choose from small_cnn, lenet, resnet32"),
        (["--set", "backbone"], "write group.key=value"),
        (["--data", "/none/at/all"], "/none/at/all"),
    ],
    ids=["preset", "key", "type", "range", "choice", "form", "path"],
)
def test_wrong_input_is_one_line_and_leaves_nothing(refused, home, tmp_path, command, arguments, message):
    out = ["--out", tmp_path / "pipeline.yaml"] if command == "compile" else []
    assert message in refused(command, *out, *arguments)
    assert not home.exists()
    assert not (tmp_path / "pipeline.yaml").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["ui"],
        ["data-imbalancing", "--out", "out"],
        ["evaluation", "--features", "f", "--classifiers", "c", "--out", "out"],
    ],
    ids=lambda command: command[0],
)
def test_a_dead_tracking_server_is_found_out_first(refused, home, dead_server, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    line = refused(*command)
    assert dead_server in line
    assert "does not answer" in line
    assert not home.exists()
    assert not (tmp_path / "out").exists()


def test_a_home_that_cannot_be_written(refused, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "set LONGTAIL_HOME to another folder" in refused("run")


def test_a_step_command_refuses_what_is_no_artifact(home, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["backbone-training", "--dataset", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_step_finds_out_at_once_that_a_store_is_not_there(refused, home, tmp_path, use_store, servers):
    use_store(servers.free_port())
    for places in (["--out", "s3://bucket/out"], ["--dataset", "s3://bucket/x", "--out", tmp_path / "out"]):
        command = ["backbone-training", *([] if "--dataset" in places else ["--dataset", tmp_path]), *places]
        assert "EndpointConnectionError; check AWS_ENDPOINT_URL" in refused(*command)
    assert "the address is not s3://BUCKET/PREFIX" in refused("data-imbalancing", "--out", "s3://")


def test_a_step_cannot_write_into_a_file(refused, home, tmp_path):
    (tmp_path / "out").touch()
    assert "give another folder" in refused("data-imbalancing", "--out", tmp_path / "out")


def test_compile_writes_the_preset_with_its_overrides(home, tmp_path, capsys):
    out = tmp_path / "pipeline.yaml"
    assert main(["compile", "--preset", "cifar100-lt", "--set", "backbone.epochs=3", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    spec, platform = yaml.safe_load_all(out.read_text())
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["backbone"]["defaultValue"]["epochs"] == 3
    assert parameters["data"]["defaultValue"]["source"] == "cifar100"
    assert "kubernetes" in platform["platforms"]
    assert list(tmp_path.iterdir()) == [out]


def test_compile_knows_the_content_of_local_data(home, photographs, tmp_path):
    out = tmp_path / "pipeline.yaml"
    assert main(["compile", "--preset", "cifar10-lt", "--data", str(photographs), "--out", str(out)]) == 0
    parameters = next(iter(yaml.safe_load_all(out.read_text())))["root"]["inputDefinitions"]["parameters"]
    assert len(parameters["data_digest"]["defaultValue"]) == 64
    assert parameters["data"]["defaultValue"]["source"] == "imagefolder"


def test_compile_from_features_is_a_pipeline_of_its_own(home, feature_table, tmp_path):
    out = tmp_path / "pipeline.yaml"
    change = ["--set", "head.kind=linear"]
    assert main(["compile", "--features", str(feature_table), *change, "--out", str(out)]) == 0
    spec = next(iter(yaml.safe_load_all(out.read_text())))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert spec["pipelineInfo"]["name"] == "longtail-features"
    assert len(parameters["data_digest"]["defaultValue"]) == 64
    assert parameters["table"]["defaultValue"]["path"] == str(feature_table)
    assert parameters["head"]["defaultValue"]["kind"] == "linear"
    assert main(["compile", "--preset", "features", "--out", str(out)]) == 0
    spec = next(iter(yaml.safe_load_all(out.read_text())))
    assert spec["pipelineInfo"]["name"] == "longtail-features"  # where the table is will be told on the cluster


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "/none/x.parquet"], "/none/x.parquet holds no .parquet file"),
        (["--features", "x.parquet", "--data", "y"], "y are images and x.parquet features: start from one of them"),
        (["--preset", "features"], "table.path is '': give a Parquet file of features, `longtail run --features FILE`"),
        (["--preset", "features", "--set", "head.knd=linear"], "did you mean 'kind'?"),
    ],
    ids=["path", "both", "none", "key"],
)
def test_a_start_from_features_that_cannot_be(refused, home, arguments, message):
    assert message in refused("run", *arguments)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("broken", ["write", "rename"])
def test_compile_that_fails_leaves_the_earlier_file(refused, tmp_path, monkeypatch, broken):
    out = tmp_path / "pipeline.yaml"
    out.write_text("earlier")

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    if broken == "write":
        monkeypatch.setattr(Path, "write_text", fail)
    else:
        monkeypatch.setattr(os, "replace", fail)
    assert "No space left on device" in refused("compile", "--out", out)
    assert out.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [out]


def test_compile_needs_a_folder_that_exists(refused, tmp_path):
    assert "is not a folder" in refused("compile", "--out", tmp_path / "none" / "pipeline.yaml")


def test_a_failed_step_ends_the_run_with_1(home, capsys, monkeypatch, tmp_path):
    def fail(_config, *, use_cache, runner):
        assert use_cache
        raise local.StepError("evaluation", "KeyError: 'x'", tmp_path / "steps.log")

    monkeypatch.setattr(local, "run_locally", fail)
    assert main(["run"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: evaluation failed: KeyError: 'x'"
    assert str(tmp_path / "steps.log") in lines[1]
    assert "run the same command again" in lines[2]


def test_an_interrupt_says_how_to_go_on(home, capsys, monkeypatch):
    def interrupt(_config, *, use_cache, runner):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run_locally", interrupt)
    assert main(["run", "--no-cache"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_ui_shows_the_runs_of_this_machine(home, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(os, "execv", lambda file, arguments: started.append(arguments))
    main(["ui", "--port", "5055"])
    assert f"sqlite:///{home / 'mlflow.db'}" in started[0]
    assert started[0][-2:] == ["--port", "5055"]
    assert "127.0.0.1" in started[0]
    assert "http://127.0.0.1:5055" in capsys.readouterr().out


def test_every_step_from_files_on_a_table(home, feature_table, tmp_path, capsys):
    settings = ["--set", "head.minimum_steps=50", "--set", "head.epochs=1", "--set", "retraining.epochs=1"]

    def step(name, *given):
        out = tmp_path / name
        assert main([name, *map(str, given), "--out", str(out), *settings]) == 0
        assert all(Path(line).exists() for line in capsys.readouterr().out.splitlines())
        return out

    features = step("feature-import", "--features", feature_table) / "features"
    given = ["--features", features, "--backbone", step("head-training", "--features", features) / "backbone"]
    samples = step("calibrated-sampling", *given) / "samples"
    classifier = step("classifier-retraining", *given, "--samples", samples, "--method", "tailcalib") / "classifier"
    results = step("evaluation", "--features", features, "--classifiers", classifier) / "results"
    assert list(read_json(results / "evaluations.json")) == ["tailcalib"]
    given = ["--features", features, "--classifiers", classifier, "--results", results]
    curvature = step("head-curvature", *given) / "head_curvature"
    assert list(read_json(curvature / "head_curvature.json")["methods"]) == ["tailcalib"]


def test_every_step_from_files_on_a_folder_of_photographs(home, photographs, tmp_path, capsys):
    settings = ["--preset", "cifar10-lt", "--data", photographs]
    for change in (
        *("data.imbalance_factor=4", "data.image_size=16", "backbone.network=small_cnn", "backbone.epochs=2"),
        *("backbone.batch_size=8", "features.views=1", "retraining.epochs=1", "hessian.images_per_class=1"),
        *("hessian.probes=2", "hessian.lanczos_steps=2", "evaluation.many_above=20", "evaluation.few_below=10"),
    ):
        settings += ["--set", change]

    def step(name, **inputs):
        out = tmp_path / name
        given = [part for key, value in inputs.items() for part in (f"--{key}", *value)]
        assert main([name.partition("/")[0], *map(str, [*given, "--out", out, *settings])]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert printed and all(Path(line).exists() for line in printed)
        return out

    data = [step("data-imbalancing") / "dataset"]
    assert Dataset.open(data[0]).train_counts.tolist() == [24, 12, 6]
    network = [step("backbone-training", dataset=data) / "backbone"]
    features = [step("feature-extraction", dataset=data, backbone=network) / "features"]
    samples = [step("calibrated-sampling", backbone=network, features=features) / "samples"]
    given = {"dataset": data, "backbone": network, "features": features, "samples": samples}
    retrained = [
        step(f"classifier-retraining/{method}", **given, method=[method]) / "classifier"
        for method in ("baseline", "tailcalib")
    ]
    step("hessian-analysis", dataset=data, backbone=network)
    results = step("evaluation", features=features, classifiers=retrained) / "results"
    evaluations = read_json(results / "evaluations.json")
    assert list(evaluations) == ["baseline", "tailcalib"]
    step("head-curvature", features=features, classifiers=retrained, results=[results])
    assert evaluations["baseline"]["groups"] == ["many", "medium", "few"]
