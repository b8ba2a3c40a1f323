"""What the chart renders and refuses, for every values file."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from charts.check import containers_of, pod_of, problems
from pipelines.policy_file import read_installation

pytestmark = pytest.mark.chart

CHART = Path(__file__).parents[2] / "charts" / "longtail"
ADMIN, STEPS, S3, DATABASE = (
    "Secret/longtail-mlflow-admin",
    "Secret/longtail-mlflow",
    "Secret/longtail-s3",
    "Secret/longtail-database",
)
# What each values file expects to find, made by others.
EXTERNAL = {
    "": (ADMIN, STEPS, S3, DATABASE),
    "laptop": (ADMIN, STEPS, "ServiceAccount/pipeline-runner"),
    "cloud": (
        *(ADMIN, STEPS, DATABASE, "Secret/mlflow-example-com-tls"),
        *("ServiceAccount/default-editor", "ClusterRole/kubeflow-edit"),
    ),
    "airgapped": (
        *(ADMIN, STEPS, S3, DATABASE, "Secret/registry-example", "Secret/longtail-kfp"),
        *("ConfigMap/example-ca", "ServiceAccount/pipeline-runner"),
    ),
}
EVERY = pytest.mark.parametrize("values", EXTERNAL)


def every_object(schema):
    """Yield each part of a schema that describes an object with known keys."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for part in schema.values():
            yield from every_object(part)


def server(manifests):
    return pod_of(manifests["Deployment/longtail-mlflow"])["spec"]


def option(manifests, name):
    (container,) = server(manifests)["containers"]
    return next(argument.partition("=")[2] for argument in container["args"] if argument.startswith(f"--{name}="))


@EVERY
def test_lint(helm, values):
    finished = helm("lint", "--strict", values=values)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@EVERY
def test_nothing_is_wrong_and_nothing_is_missing(render, values):
    manifests = list(render(values=values).values())
    assert problems(manifests, EXTERNAL[values]) == []
    unneeded = [name for name in EXTERNAL[values] if not problems(manifests, {*EXTERNAL[values]} - {name})]
    assert not unneeded


def test_checker_is_a_command(helm):
    rendered = helm("template", values="laptop").stdout
    command = [sys.executable, "charts/check.py"]
    finished = subprocess.run([*command, *EXTERNAL["laptop"]], input=rendered, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, "nothing is wrong\n")
    finished = subprocess.run(command, input=rendered, capture_output=True, text=True)
    assert (finished.returncode, f"{ADMIN} is neither made" in finished.stdout) == (1, True)


def test_schema_knows_every_value_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert all(part["additionalProperties"] is False for part in every_object(schema))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    for name, section in values.items():
        known = schema["properties"][name].get("properties", {})
        assert name == "policy" or not isinstance(section, dict) or set(known) == set(section), name


def test_every_value_has_a_comment():
    lines = (CHART / "values.yaml").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r" *\w+:( |$)", line) and not re.match(r" *(requests|limits|ports|to|podSelector):", line):
            holds_others = line.endswith(":")
            assert above.lstrip().startswith("#") or holds_others, f"say what this is for: {line}"


@pytest.mark.parametrize("key", ["unknown=1", "mlflow.unknown=1", "s3.accessKey=x", "networkPolicy.dns.unknown=1"])
def test_unknown_keys_are_refused(refusal, key):
    name = key.partition("=")[0].rpartition(".")[2]
    assert f"additional properties '{name}' not allowed" in refusal(key)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["s3.roleAnnotations.role=a"], "at '/s3/existingSecret': value must be ''"),
        (["image.tag=latest"], "at '/image/tag'"),
        (["image.digest=sha256:abc"], "at '/image/digest'"),
        (["mlflow.auth.admin.existingSecret="], "at '/mlflow/auth/admin/existingSecret'"),
        (["mlflow.extraAllowedHosts={*}"], "at '/mlflow/extraAllowedHosts/0'"),
        (["mlflow.extraCorsOrigins={*}"], "at '/mlflow/extraCorsOrigins/0'"),
        (["persistence.enabled=true"], "at '/mlflow/replicas': value must be 1"),
        (["database.existingSecret="], "at '/persistence/enabled': value must be true"),
        (["artifacts.destination="], "at '/persistence/enabled': value must be true"),
        (["ingress.enabled=true"], "at '/ingress/hosts': minItems"),
        (["kfp.auth=secret"], "at '/kfp/existingSecret'"),
        (["kfp.existingSecret=token"], "at '/kfp/existingSecret'"),
        (["kfp.host=http://user:password@host"], "at '/kfp/host'"),
        (["retraining.schedule=0 0 3 * * 1"], "at '/retraining/schedule'"),
        (["retraining.cooldown=tomorrow"], "at '/retraining/cooldown'"),
        (["retraining.model=a/b"], "at '/retraining/model'"),
        (["policy.step.evaluation.cpu=1"], "additional properties 'step' not allowed"),
    ],
)
def test_values_that_cannot_work_are_refused(refusal, settings, reason):
    assert reason in refusal(*settings)


def test_hosts_are_those_that_the_server_is_called_by(render):
    manifests = render("mlflow.extraAllowedHosts={proxy.example.com}", values="cloud")
    names = ["longtail-mlflow", "longtail-mlflow.ml", "longtail-mlflow.ml.svc", "longtail-mlflow.ml.svc.cluster.local"]
    expected = [*names, "localhost", "127.0.0.1", "mlflow.example.com", "proxy.example.com"]
    assert option(manifests, "allowed-hosts").split(",") == [host for name in expected for host in (name, f"{name}:*")]
    assert option(manifests, "cors-allowed-origins") == "https://mlflow.example.com"
    assert [rule["host"] for rule in manifests["Ingress/longtail-mlflow"]["spec"]["rules"]] == ["mlflow.example.com"]


def test_roles_set_no_variable_that_could_shadow_them(render):
    manifests = render(values="cloud")
    for name in ("mlflow", "submission", "training"):
        assert manifests[f"ServiceAccount/longtail-{name}"]["metadata"]["annotations"]
    for pod in filter(None, map(pod_of, manifests.values())):
        names = {variable["name"] for container in containers_of(pod) for variable in container["env"]}
        assert {name for name in names if name.startswith("AWS_")} <= {"AWS_DEFAULT_REGION"}
    assert "AWS_ACCESS_KEY_ID" not in manifests["ConfigMap/longtail-policy"]["data"]["policy.yaml"]


def test_no_password_is_in_the_chart(render):
    text = yaml.safe_dump(list(render().values()))
    assert "password1234" not in text
    kinds = {manifest["kind"] for manifest in render(values="airgapped").values()}
    assert "Secret" not in kinds


@pytest.mark.parametrize(
    "kind", ["Deployment/longtail-mlflow", "Job/longtail-migration", "CronJob/longtail-retraining"]
)
def test_image_is_fixed_by_content(render, kind):
    for container in containers_of(pod_of(render(values="cloud")[kind])):
        assert container["image"].startswith("registry.example.com/longtail/python-cpu@sha256:")


def test_training_may_do_five_things_with_two_kinds_and_read_pods(render):
    rules = render()["Role/longtail-training"]["rules"]
    every = {"create", "get", "list", "watch", "delete"}
    assert [(rule["apiGroups"], rule["resources"], set(rule["verbs"])) for rule in rules] == [
        (["trainer.kubeflow.org"], ["trainjobs"], every),
        (["kubeflow.org"], ["pytorchjobs"], every),
        ([""], ["pods"], {"get"}),
    ]


def test_certificates_reach_every_client(render):
    manifests = render(values="airgapped")
    for pod in filter(None, map(pod_of, manifests.values())):
        for container in containers_of(pod):
            names = {one["name"]: one.get("value") for one in container["env"]}
            if container["name"] != "auth-config":
                assert names["REQUESTS_CA_BUNDLE"] == names["AWS_CA_BUNDLE"] == "/etc/longtail/ca/ca.crt"


@EVERY
def test_policy_is_one_that_longtail_reads(render, tmp_path, values):
    file = tmp_path / "policy.yaml"
    file.write_text(render(values=values)["ConfigMap/longtail-policy"]["data"]["policy.yaml"])
    installation = read_installation(str(file))
    step = installation.steps["backbone_training"]
    assert step.environment["MLFLOW_TRACKING_URI"] == "http://longtail-mlflow.ml.svc.cluster.local:5000"
    assert step.secrets[0].name == "longtail-mlflow"
    assert step.gpu.count == (1 if values == "cloud" else 0)
    assert installation.run.service_account == ("longtail-training" if values == "cloud" else "")


@pytest.mark.parametrize(("values", "kind"), [("cloud", "CronJob"), ("airgapped", "Job")])
def test_retraining_is_a_command_that_longtail_has(render, values, kind):
    from pipelines.cli import _parser

    pod = pod_of(render("retraining.set={backbone.epochs=3}", values=values)[f"{kind}/longtail-retraining"])
    (container,) = pod["spec"]["containers"]
    arguments = _parser().parse_args(container["args"])
    assert arguments.preset == "cifar100-lt"
    assert arguments.data.startswith("s3://")
    assert arguments.set == ["backbone.epochs=3"]
    if kind == "Job":
        assert (arguments.cron, arguments.timezone, arguments.name) == ("0 3 * * 1", "Etc/UTC", "longtail-retraining")
    else:
        assert arguments.wait


@pytest.mark.parametrize(("values", "kind"), [("cloud", "CronJob"), ("airgapped", "Job")])
def test_with_a_model_it_asks_first_whether_there_is_a_reason(render, values, kind):
    from pipelines.cli import _parser
    from pipelines.retrain import cooldown_seconds

    manifests = render("retraining.model=fish", "retraining.cooldown=7d", values=values)
    (container,) = pod_of(manifests[f"{kind}/longtail-retraining"])["spec"]["containers"]
    arguments = _parser().parse_args(container["args"])
    assert container["args"][0] == ("retrain" if kind == "CronJob" else "schedule")
    assert (arguments.model, cooldown_seconds(arguments)) == ("fish", 7 * 86400)
    assert {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"} <= {one["name"] for one in container["env"]}
    if kind == "CronJob":
        assert arguments.wait
        assert arguments.host == next(one["value"] for one in container["env"] if one["name"] == "LONGTAIL_KFP_HOST")
    (clients,) = manifests["NetworkPolicy/longtail-clients"]["spec"]["podSelector"]["matchExpressions"]
    assert "submission" in clients["values"]


@EVERY
def test_notes_give_the_first_commands(helm, values):
    notes = helm("install", "--dry-run=client", values=values)
    assert notes.returncode == 0, notes.stderr
    for command in ("helm test longtail --namespace ml", "port-forward service/longtail-mlflow", "longtail submit"):
        assert command in notes.stdout
