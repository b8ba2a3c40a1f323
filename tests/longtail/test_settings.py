import pytest
import yaml

from longtail.config import PipelineConfig, parse, to_dict
from longtail.errors import InputError
from longtail.settings import FOLDER, preset_names, resolve


@pytest.fixture
def preset(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_presets_that_come_with_longtail():
    assert {"cifar10-lt", "cifar100-lt", "cifar100-lt-paper", "digits"} <= set(preset_names())
    assert {"ce", "cosine-ce", "crt", "cbd", "modals", "tailcalib", "tailcalibx", "cbd-tailcalibx"} <= set(
        preset_names()
    )


@pytest.mark.parametrize("name", preset_names())
def test_preset_resolves_and_survives_a_round_trip(name, preset):
    config = resolve(name)
    assert parse(PipelineConfig, to_dict(config)) == config
    assert resolve(preset(yaml.safe_dump(to_dict(config)))) == config


@pytest.mark.parametrize("name", preset_names())
def test_preset_sets_what_it_says(name):
    (path,) = FOLDER.rglob(f"{name}.yaml")
    assert_contains(to_dict(resolve(name)), yaml.safe_load(path.read_text()))


def assert_contains(resolved, values):
    """Every value that is set is there, in groups of groups too."""
    for key, value in values.items():
        if isinstance(value, dict):
            assert_contains(resolved[key], value)
        else:
            assert resolved[key] == value, key


def test_presets_are_laid_over_each_other_from_left_to_right(preset):
    digits, both = resolve("digits"), resolve("digits, cbd-tailcalibx")
    assert both.backbone.distillation.weight == 0.8
    assert both.retraining.methods == ("baseline", "tailcalibx")
    assert (both.data, both.backbone.epochs) == (digits.data, digits.backbone.epochs)
    upper = preset("backbone: {loss: {name: ldam}}")
    laid = resolve(f"digits,balanced-softmax,{upper}").backbone.loss
    assert (laid.name, resolve("digits,cbd," + upper).backbone.loss.sampler) == ("ldam", "class_aware")
    assert resolve("cifar100-lt-paper,reference,ce").backbone.head == "linear"


def test_overrides_are_laid_over_the_preset_in_order():
    config = resolve("digits", ["backbone.epochs=3", "seed=7", "retraining.methods=[crt]", "backbone.epochs=4"])
    assert (config.backbone.epochs, config.seed, config.retraining.methods) == (4, 7, ("crt",))
    assert config.backbone.batch_size == resolve("digits").backbone.batch_size


def test_overrides_read_numbers_and_truth_as_yaml():
    config = resolve("digits", ["backbone.learning_rate=1e-3", "backbone.nesterov=true", "hessian.probes=3"])
    assert (config.backbone.learning_rate, config.backbone.nesterov, config.hessian.probes) == (1e-3, True, 3)


def test_override_may_open_a_group_that_the_preset_lacks(preset):
    assert resolve(preset("seed: 2"), ["features.views=3"]).features.views == 3


def test_path_of_images_decides_the_kind_of_source(tmp_path, preset):
    for split in ("train", "test"):
        (tmp_path / "images" / split / "cat").mkdir(parents=True)
        (tmp_path / "images" / split / "cat" / "1.png").write_bytes(b"")
    for text in ("seed: 2", "data:", "data: {source: cifar10, seed: 5}"):
        config = resolve(preset(text), data=str(tmp_path / "images"))
        assert (config.data.source, config.data.path) == ("imagefolder", str(tmp_path / "images"))
    assert config.data.seed == 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone.epochs"], "'backbone.epochs' is not a setting: write group.key=value"),
        (["=3"], "'=3' is not a setting: write group.key=value"),
        (["backbone.epoch=3"], "'backbone.epoch' is not a setting: did you mean 'epochs'?"),
        (["backbone=3"], "backbone is 3: give a group of settings, such as backbone.KEY=VALUE"),
        (["seed.x=3", "seed.x.y=4"], "'seed.x.y=4' goes through 'x', which is not a group of settings"),
        (["backbone.epochs=[1"], "'backbone.epochs=[1': '[1' cannot be read as a YAML value"),
        (["backbone.epochs=0"], "backbone.epochs is 0: it must be at least 1"),
    ],
)
def test_wrong_overrides_are_named(overrides, message):
    with pytest.raises(InputError) as error:
        resolve("digits", overrides)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [1", r"mine.yaml is not valid YAML: "),
        ("a: b: c", r"mine.yaml is not valid YAML: "),
        ("- data", r"mine.yaml holds list: a preset is a mapping of groups of settings"),
        ("", r"mine.yaml holds NoneType: a preset is a mapping"),
        ("data: 3", r"data is 3: give a group of settings"),
        ("on: 3", r"'True' is not a setting|True is not a setting"),
    ],
)
def test_wrong_files_are_named(preset, text, message):
    with pytest.raises(InputError, match=message) as error:
        resolve(preset(text))
    assert "\n" not in str(error.value)


def test_file_that_is_not_text(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"mine.yaml is not valid YAML"):
        resolve(str(tmp_path / "mine.yaml"))


def test_data_that_is_not_a_group_is_named_before_a_path_is_laid_over_it(tmp_path, preset):
    with pytest.raises(InputError, match=r"data is 3: give a group of settings"):
        resolve(preset("data: 3"), data=str(tmp_path))


def test_a_table_of_features_is_a_start_of_its_own():
    config = resolve("", ["table.label_column=species"], features="table.parquet")
    assert (config.start, config.table.path, config.table.label_column) == ("features", "table.parquet", "species")
    assert config.retraining == resolve("features").retraining
    assert config.calibration.tukey == 1  # features may be negative
    assert (resolve("").start, resolve("")) == ("images", resolve("digits"))


def test_any_preset_may_be_given_for_a_table(preset):
    config = resolve(preset("table: {label_column: species}"), features="table.parquet")
    assert (config.start, config.table.path, config.table.label_column) == ("features", "table.parquet", "species")


def test_images_and_features_are_not_read_at_once(preset):
    with pytest.raises(InputError, match=r"^a are images and b features: start from one of them$"):
        resolve("features", data="a", features="b")
    with pytest.raises(InputError, match=r"^table is 3: give a group of settings, such as table.KEY=VALUE$"):
        resolve(preset("table: 3"), features="b")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "'digit' is not a preset: did you mean 'digits'?"),
        ("zzz", "'zzz' is not a preset: choose from cifar10-lt, cifar100-lt, "),
    ],
)
def test_unknown_preset_names_the_nearest(name, message):
    with pytest.raises(InputError) as error:
        resolve(name)
    assert str(error.value).startswith(message)
