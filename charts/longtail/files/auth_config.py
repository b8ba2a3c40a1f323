"""Write MLflow's account settings, which take the address of the database from nothing but a file."""

import configparser
import os

uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
config = configparser.ConfigParser()
config["mlflow"] = {
    "default_permission": os.environ["LONGTAIL_DEFAULT_PERMISSION"],
    "database_uri": uri.replace("%", "%%"),
    "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
}
path = os.environ["MLFLOW_AUTH_CONFIG_PATH"]
with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
    config.write(file)
