"""Make the account of pipeline steps, or set its password to the Secret's."""

import os
import sys
import time

import requests

server = os.environ["MLFLOW_TRACKING_URI"]
admin = (os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"])
username, password = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
deadline = time.monotonic() + float(os.environ["LONGTAIL_WAIT_SECONDS"])


def ask(method, path, who=admin, **body):
    """Return the server's answer."""
    return requests.request(method, f"{server}/api/2.0/mlflow/{path}", auth=who, json=body or None, timeout=10)


def status():
    """Return the status of the server, or why there is none."""
    try:
        return requests.get(f"{server}/health", timeout=5).status_code
    except requests.RequestException as error:
        return type(error).__name__


while (answer := status()) != 200:
    if time.monotonic() > deadline:
        sys.exit(f"MLflow does not answer ({answer}): look at the logs of its pods")
    time.sleep(2)

if ask("GET", "experiments/search?max_results=1", (username, password)).ok:
    answer, done = None, "is there"
else:
    answer, done = ask("POST", "users/create", username=username, password=password), "was made"
    if "RESOURCE_ALREADY_EXISTS" in answer.text:
        answer, done = ask("PATCH", "users/update-password", username=username, password=password), "has a new password"
if answer is not None and not answer.ok:
    sys.exit(f"the account {username} cannot be made ({answer.status_code}): {answer.text[:300]}")
print(f"the account {username} {done}")
