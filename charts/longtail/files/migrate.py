"""Wait for the database, then bring MLflow's tables and those of its accounts to this release."""

import os
import sys
import time

import sqlalchemy
from mlflow.db import commands as tracking
from mlflow.server.auth.db.cli import commands as accounts

uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
deadline = time.monotonic() + float(os.environ["LONGTAIL_WAIT_SECONDS"])
while True:
    try:
        with sqlalchemy.create_engine(uri).connect():
            break
    except sqlalchemy.exc.OperationalError as error:
        reason = " ".join(str(error.orig).split())
        if time.monotonic() > deadline:
            sys.exit(f"no database: {reason}; check the address and the password in its Secret, and its firewall")
        print(f"waiting for the database: {reason}", flush=True)
        time.sleep(2)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        sys.exit(f"the database's address is unusable ({type(error).__name__}): give postgresql+psycopg2://...")

# In this process, as an argument of a command would show the password to whoever lists processes.
tracking.main(["upgrade", uri], standalone_mode=False)
accounts.main(["upgrade", "--url", uri], standalone_mode=False)
print("the database is up to date")
