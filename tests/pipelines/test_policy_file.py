import pytest

from components import images
from longtail.errors import InputError
from pipelines.policy import POLICY, Gpu, Secret, Toleration
from pipelines.policy_file import Installation, RunPolicy, read_installation

CPU, CUDA = (f"registry.example/longtail{name}@sha256:{'0' * 64}" for name in ("", "-cuda"))


@pytest.fixture
def read(tmp_path):
    def write(text):
        (tmp_path / "policy.yaml").write_text(text)
        return read_installation(str(tmp_path / "policy.yaml"))

    return write


def test_without_a_file_the_table_holds():
    assert read_installation() == Installation(POLICY, RunPolicy())


@pytest.mark.parametrize("text", ["", "# nothing\n", "steps: {}\n"])
def test_an_empty_file_changes_nothing(read, text):
    assert read(text) == Installation(POLICY, RunPolicy())


def test_a_steps_own_layer_lies_over_that_of_every_step(read):
    steps = read("""
every_step: {cpu: 3, retries: 4, node_selector: {pool: batch}, environment: {A: one, B: 2}}
steps:
  evaluation: {cpu: 500m, node_selector: {disk: ssd}, environment: {A: other}}
""").steps
    assert (steps["evaluation"].cpu, steps["data_imbalancing"].cpu) == ("500m", "3")
    assert steps["evaluation"].node_selector == {"pool": "batch", "disk": "ssd"}
    assert steps["evaluation"].environment == {"A": "other", "B": "2"}
    assert {policy.retries for policy in steps.values()} == {4}
    assert steps["evaluation"].memory == POLICY["evaluation"].memory
    assert steps["backbone_training"].timeout == "24h"


def test_lists_are_replaced(read):
    policy = read("""
every_step:
  secrets: [{name: mine, environment: {MLFLOW_TRACKING_TOKEN: token}}]
  tolerations: [{key: spot, effect: NoSchedule}]
steps: {evaluation: {secrets: [], tolerations: []}}
""").steps
    assert policy["head_training"].secrets == (Secret("mine", {"MLFLOW_TRACKING_TOKEN": "token"}),)
    assert policy["head_training"].tolerations == (Toleration("spot", effect="NoSchedule"),)
    assert policy["evaluation"].secrets == policy["evaluation"].tolerations == ()


def test_images_by_what_a_step_needs(read):
    steps = read(f"""
images: {{cpu: {CPU}, cuda: {CUDA}}}
steps:
  backbone_training: {{gpu: {{count: 1}}}}
  evaluation: {{image: other/image:1.0}}
""").steps
    assert steps["backbone_training"].gpu == Gpu("nvidia.com/gpu", 1)
    assert steps["backbone_training"].image == CUDA
    assert steps["evaluation"].image == "other/image:1.0"
    assert steps["data_imbalancing"].image == CPU


def test_a_gpu_without_an_image_that_can_use_it(read, tmp_path, monkeypatch):
    (tmp_path / "images.json").write_text('{"cpu": {"name": "a/b", "tag": "1", "digest": ""}}')
    monkeypatch.setattr(images, "IMAGES", tmp_path / "images.json")
    with pytest.raises(InputError, match="has no 'cuda' image: build it with `make images`, or name another"):
        read("steps: {backbone_training: {gpu: {count: 1}}}")


def test_the_run_as_a_whole(read):
    run = read("run: {service_account: runner, keep: 7d, keep_failed: 30d, timeout: 2d, pipeline_root: s3://b/p}").run
    assert run == RunPolicy("runner", "s3://b/p", "7d", "30d", "2d")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes: {}", "'stpes' is not a setting: did you mean 'steps'?"),
        (
            "steps: {backbone_trainig: {}}",
            "'steps.backbone_trainig' is not a setting: did you mean 'backbone_training'?",
        ),
        ("steps: {evaluation: {cpus: 2}}", "'steps.evaluation.cpus' is not a setting: did you mean 'cpu'?"),
        (
            "every_step: {tolerations: [{keys: a}]}",
            "'every_step.tolerations.keys' is not a setting: did you mean 'key'?",
        ),
        ("steps: {evaluation: {gpu: {counts: 2}}}", "'steps.evaluation.gpu.counts' is not a setting"),
        ("steps: {evaluation: {gpu: {count: 1.5}}}", "steps.evaluation.gpu.count is '1.5': give a whole number"),
        ("steps: {evaluation: {gpu: {count: -1}}}", "steps.evaluation.gpu.count is -1: it must be at least 0"),
        ("every_step: {cpu: lots}", "steps.drift_check.cpu is 'lots'"),
        ("every_step: {cache: perhaps}", "every_step.cache is 'perhaps': give true or false"),
        (
            "every_step: {tolerations: [{operator: Is}]}",
            "every_step.tolerations.operator is 'Is': choose from Exists, Equal",
        ),
        ("every_step: {environment: [A, B]}", "every_step.environment is ['A', 'B']: give a mapping"),
        ("every_step: 3", "every_step is '3': give a group of settings"),
        ("run: {keep: forever}", "run.keep is 'forever': give a duration"),
        ("images: {cpu: host/name:latest}", "images.cpu is 'host/name:latest': what it names may change"),
        ("- a\n- b\n", "holds no mapping: give one with the keys images, every_step, steps, run"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(read, text, message):
    with pytest.raises(InputError) as error:
        read(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_there_is_not():
    with pytest.raises(InputError, match=r"policy '/no/such' cannot be read \(No such file or directory\)"):
        read_installation("/no/such")
