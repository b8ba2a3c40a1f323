import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FILE = Path(__file__).parents[2] / "benchmarks" / "time_to_accuracy.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("time_to_accuracy", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photographs(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[..., label] += 120
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_a_short_run_prints_a_curve(benchmark, photographs, tmp_path, capsys):
    small = ("data.imbalance_factor=2", "backbone.network=small_cnn", "backbone.batch_size=4")
    settings = [part for setting in small for part in ("--set", setting)]
    figure = tmp_path / "curve.png"
    run = ["--data", str(photographs), *settings, "--epochs", "2", "1", "--images", "16", "--target", "0"]
    benchmark.main([*run, "--figure", str(figure)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert all(0 <= float(line.split()[2]) <= 100 for line in lines[2:4])
    assert lines[4].startswith("0 % after ")
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_time_is_interpolated_between_the_points_around_the_target(benchmark):
    points = [benchmark.Point(20, 200.0, 40.0), benchmark.Point(10, 120.0, 30.0), benchmark.Point(38, 400.0, 39.0)]
    assert benchmark.seconds_to(30.0, points) == 120.0
    assert benchmark.seconds_to(35.0, points) == 160.0
    assert benchmark.seconds_to(40.0, points) == 200.0
    assert benchmark.seconds_to(40.1, points) is None
    assert benchmark.seconds_to(1.0, []) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "cifar100-lt,cbd"], "a teacher's training is not timed here"),
        (["--data", "/none/at/all"], "/none/at/all"),
    ],
)
def test_bad_input_is_told(benchmark, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        benchmark.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
