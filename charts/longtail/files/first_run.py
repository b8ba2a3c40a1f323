"""Write a run through every name of the MLflow service, read it back, and see that strangers are refused."""

import os
import sys
import tempfile
import time

import mlflow
import requests

experiment = "longtail-helm-test"
names = os.environ["LONGTAIL_SERVICE_URIS"].split()
written = {"parameter": "7", "metric": 0.25, "artifact": f"written at {time.time()}"}


def check(name, found, expected):
    """End with what was found in place of what was expected."""
    if found != expected:
        sys.exit(f"{name}: found {found!r} in place of {expected!r}")
    print(f"ok: {name}", flush=True)


def write_and_read(uri):
    """Return what is read back of a run."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run() as run:
        mlflow.log_param("parameter", written["parameter"])
        mlflow.log_metric("metric", written["metric"])
        mlflow.log_text(written["artifact"], "folder/artifact.txt")
    client = mlflow.MlflowClient()
    data = client.get_run(run.info.run_id).data
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run.info.run_id, "folder/artifact.txt", folder)
        with open(path, encoding="utf-8") as file:
            artifact = file.read()
    client.delete_run(run.info.run_id)
    return {"parameter": data.params["parameter"], "metric": data.metrics["metric"], "artifact": artifact}


for name in names:
    check(f"a run through {name}", write_and_read(name), written)
search = f"{names[-1]}/api/2.0/mlflow/experiments/search?max_results=1"
check("no password", requests.get(search, timeout=30).status_code, 401)
check("a wrong password", requests.get(search, timeout=30, auth=("nobody", "wrong-password")).status_code, 401)
check("a foreign host", requests.get(search, timeout=30, headers={"Host": "evil.example"}).status_code, 403)
origin = {"Origin": "https://evil.example"}
check("a foreign origin", requests.post(search, timeout=30, json={}, headers=origin).status_code, 403)
