import pytest

from longtail.errors import InputError
from pipelines.policy import POLICY, CertificateBundle, Gpu, Policy, Secret, Toleration
from pipelines.policy_checks import check_image, check_policy, check_run
from pipelines.policy_file import RunPolicy

DIGEST = f"registry.example:5000/team/longtail@sha256:{'0' * 64}"


@pytest.mark.parametrize("step", POLICY)
def test_the_table_itself_is_right(step):
    check_policy(POLICY[step], step)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(cpu="500m", memory="512Mi", shared_memory="256Mi", backoff="1m", timeout="2d"),
        Policy(cpu="0.5", memory="1073741824"),
        Policy(gpu=Gpu("amd.com/gpu", 2), image=DIGEST),
        Policy(node_selector={"example.com/pool": "gpu-a100", "spot": ""}, labels={"team": "vision"}),
        Policy(tolerations=(Toleration("spot"), Toleration(), Toleration("gpu", "Equal", "yes", "NoSchedule"))),
        Policy(environment={"MLFLOW_TRACKING_URI": "http://mlflow:5000"}, secrets=()),
        Policy(certificates=CertificateBundle("company-ca"), image_pull_secrets=("registry",)),
    ],
)
def test_what_kubernetes_accepts(policy):
    check_policy(policy, "x")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(cpu="two"), "x.cpu is 'two': give a number of processors such as 2, 0.5 or 500m"),
        (Policy(memory="16GB"), "x.memory is '16GB': give a number of bytes such as 512Mi"),
        (Policy(memory="1.5Gi"), "x.memory is '1.5Gi'"),
        (
            Policy(memory="1G", shared_memory="1Gi"),
            "x.shared_memory is '1Gi': it counts as memory, of which there are 1G",
        ),
        (Policy(timeout="1 hour"), "x.timeout is '1 hour': give a duration such as 90s, 30m, 24h or 7d"),
        (Policy(timeout="0s"), "x.timeout is '0s'"),
        (Policy(backoff="30"), "x.backoff is '30'"),
        (Policy(gpu=Gpu("nvidia gpu", 1)), "x.gpu.type is 'nvidia gpu': give a resource such as nvidia.com/gpu"),
        (Policy(node_selector={"a b": "c"}), "x.node_selector is 'a b': give keys such as pool"),
        (Policy(labels={"team": "v" * 64}), "x.labels.team is 'v+': give at most 63 letters"),
        (Policy(tolerations=(Toleration("a", value="b"),)), "x.tolerations has value 'b': give operator Equal"),
        (Policy(tolerations=(Toleration(operator="Equal"),)), "x.tolerations has no key"),
        (Policy(image_pull_secrets=("My_Registry",)), "x is 'My_Registry': give the name of a Kubernetes object"),
        (Policy(environment={"A B": "c"}), "x.environment is 'A B': give the name of a variable"),
        (Policy(environment={"KFP_RUN_ID": "1"}), "x: KFP_RUN_ID gets more than one value"),
        (Policy(environment={"AWS_ACCESS_KEY_ID": "AK"}), "x.environment.AWS_ACCESS_KEY_ID holds a secret: put it in"),
        (Policy(environment={"URI": "http://u:p@h"}), "x.environment.URI holds a secret"),
        (Policy(secrets=(Secret("s"),)), "x.secrets: s gives no variable; write environment"),
        (Policy(secrets=(Secret("S", {"A": "b"}),)), "x.secrets is 'S': give the name of a Kubernetes Secret"),
        (
            Policy(secrets=(Secret("s", {"A": "b"}), Secret("t", {"A": "c"}))),
            "x: A gets more than one value; give it once",
        ),
    ],
)
def test_what_kubernetes_would_not(policy, message):
    with pytest.raises(InputError, match=message) as error:
        check_policy(policy, "x")
    assert "\n" not in str(error.value)


def test_a_secret_is_not_repeated():
    with pytest.raises(InputError) as error:
        check_policy(Policy(environment={"MLFLOW_TRACKING_PASSWORD": "hunter22"}), "x")
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize("reference", ["", DIGEST, "longtail/python-cpu:0.1.0", "host:5000/a/b/c:v1.2-abc"])
def test_images_that_stay_what_they_are(reference):
    check_image(reference, "images.cpu")


@pytest.mark.parametrize("tag", ["", ":latest", ":main", ":stable"])
def test_images_that_may_change(tag):
    with pytest.raises(
        InputError, match=r"images.cpu is .*: what it names may change, which Kubeflow's cache cannot see"
    ):
        check_image(f"registry.example/longtail{tag}", "images.cpu")


@pytest.mark.parametrize("reference", ["a b", "x@sha256:123", "https://host/x:1"])
def test_what_is_no_image(reference):
    with pytest.raises(InputError, match=r"images.cpu is .*: give HOST/NAME@sha256:DIGEST"):
        check_image(reference, "images.cpu")


def test_a_run():
    check_run(RunPolicy("longtail-runner", "s3://b/p", keep="7d", timeout="12h"))
    with pytest.raises(InputError, match=r"run.keep is '7': give a duration"):
        check_run(RunPolicy(keep="7"))
    with pytest.raises(InputError, match=r"run.service_account is 'Me': give the name"):
        check_run(RunPolicy("Me"))
