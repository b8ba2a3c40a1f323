"""The checker finds what is broken: one break at a time in what is right."""

import copy

import pytest

from charts.check import containers_of, pod_of, problems, quantity

pytestmark = pytest.mark.chart

EXTERNAL = ["Secret/longtail-mlflow-admin", "Secret/longtail-mlflow", "Secret/longtail-s3", "Secret/longtail-database"]
SERVER, JOB, CRON = "Deployment/longtail-mlflow", "Job/longtail-migration", "CronJob/longtail-retraining"


@pytest.fixture(scope="module")
def right(render):
    manifests = render("retraining.enabled=true")
    assert problems(list(manifests.values()), EXTERNAL) == []
    return manifests


def spec(manifests, name):
    return pod_of(manifests[name])["spec"]


def container(manifests, name=SERVER):
    return containers_of(pod_of(manifests[name]))[-1]


def add_variable(manifests, name, value):
    container(manifests)["env"].append({"name": name, "value": value})


BREAKS = {
    "Additional properties are not allowed": lambda m: m[SERVER]["spec"].update(replica=2),
    "is there twice": lambda m: add_variable(m, "HOME", "/"),
    "requests more cpu than its limit": lambda m: container(m)["resources"]["limits"].update(cpu="100m"),
    "its limit of memory is not its request": lambda m: container(m)["resources"]["limits"].update(memory="2Gi"),
    "requests no memory": lambda m: container(m)["resources"]["requests"].pop("memory"),
    "restartPolicy must be": lambda m: spec(m, JOB).pop("restartPolicy"),
    "its selector does not take its pods": lambda m: m[SERVER]["spec"]["selector"]["matchLabels"].update(a="b"),
    "selects no pods": lambda m: m["Service/longtail-mlflow"]["spec"]["selector"].update(a="b"),
    "selects Deployment/longtail-mlflow, CronJob": lambda m: m["Service/longtail-mlflow"]["spec"]["selector"].pop(
        "app.kubernetes.io/component"
    ),
    "MY_PASSWORD holds a secret": lambda m: add_variable(m, "MY_PASSWORD", "in the clear"),
    "DATABASE holds a secret": lambda m: add_variable(m, "DATABASE", "postgresql://me:hidden@host/name"),
    "may change": lambda m: container(m).update(image="registry:5000/longtail/python-cpu"),
    "python-cpu:latest may change": lambda m: container(m).update(image="longtail/python-cpu:latest"),
    "may run as root": lambda m: spec(m, SERVER)["securityContext"].pop("runAsNonRoot"),
    "has no seccomp profile": lambda m: spec(m, SERVER)["securityContext"].pop("seccompProfile"),
    "can write to its image": lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem"),
    "may gain rights": lambda m: container(m)["securityContext"].pop("allowPrivilegeEscalation"),
    "keeps capabilities": lambda m: container(m)["securityContext"].pop("capabilities"),
    "mounts a token": lambda m: spec(m, SERVER).pop("automountServiceAccountToken"),
    "mounts cache, which is no volume": lambda m: container(m)["volumeMounts"].append({
        "name": "cache",
        "mountPath": "/cache",
    }),
    "the volume tmp is not used": lambda m: container(m, JOB).pop("volumeMounts"),
    "lacks the labels app.kubernetes.io/part-of": lambda m: m[JOB]["metadata"]["labels"].pop(
        "app.kubernetes.io/part-of"
    ),
    "may run beside itself": lambda m: m[CRON]["spec"].update(concurrencyPolicy="Allow"),
    "has no timeZone": lambda m: m[CRON]["spec"].pop("timeZone"),
    "no NetworkPolicy denies it": lambda m: m.pop("NetworkPolicy/longtail-default-deny"),
    "no NetworkPolicy allows it anything": lambda m: [
        m.pop(f"NetworkPolicy/longtail-{name}") for name in ("dns", "migration")
    ],
    "allows every port": lambda m: m["NetworkPolicy/longtail-dns"]["spec"]["egress"].append({}),
    "rights that are too wide": lambda m: m["Role/longtail-training"]["rules"][0]["verbs"].append("*"),
    "ServiceAccount/longtail-mlflow is neither": lambda m: m.pop("ServiceAccount/longtail-mlflow"),
    "ConfigMap/longtail-policy is neither": lambda m: m.pop("ConfigMap/longtail-policy"),
    "Role/longtail-training is neither": lambda m: m.pop("Role/longtail-training"),
}


@pytest.mark.parametrize("expected", BREAKS)
def test_a_break_is_found(right, monkeypatch, expected):
    if "Additional" not in expected:  # Kubernetes' schemas take seconds, and only that break is theirs
        monkeypatch.setattr("charts.check._schema", lambda manifests: [])
    manifests = copy.deepcopy(right)
    BREAKS[expected](manifests)
    found = problems(list(manifests.values()), EXTERNAL)
    assert [line for line in found if expected in line], found


def test_a_secret_that_nobody_makes_is_found(right, monkeypatch):
    monkeypatch.setattr("charts.check._schema", lambda manifests: [])
    (line,) = problems(list(right.values()), EXTERNAL[:3])[:1]
    assert "Secret/longtail-database is neither made nor named as existing" in line


@pytest.mark.parametrize(("text", "number"), [("250m", 0.25), ("1.5Gi", 1.5 * 2**30), ("2G", 2e9), (1, 1.0)])
def test_quantity(text, number):
    assert quantity(text) == number


def test_quantity_of_nonsense():
    with pytest.raises(ValueError, match="'1 Gi' is no amount: give one such as"):
        quantity("1 Gi")
