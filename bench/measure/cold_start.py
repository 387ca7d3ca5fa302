"""bench/measure/cold_start.py -- from the start of a process to the first row through it, against the emulator.

Both are called with exactly the arguments of a service.yaml and log in with IAM.
"""
import subprocess
import time

import psycopg2

from lib import paths
from lib.emulator import Emulator
from lib.ports import free_port
from lib.process import Process

from .contestants import Unavailable

INSTANCE = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"


def auth_proxy_binary():
    done = subprocess.run([paths.ROOT / "scripts" / "peers", "auth-proxy"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.strip().splitlines()[-1]


def emulator(postgres):
    postgres.create_role(ROLE)
    return Emulator(postgres, [INSTANCE], principal=PRINCIPAL)


def _connect(port, process):
    """As an application that starts at the same time does: again until somebody listens. No probe comes first, because
    the Auth Proxy dials the instance for each connection."""
    while process.running():
        try:
            return psycopg2.connect(host="127.0.0.1", port=port, user=ROLE, dbname="postgres", password="x",
                                    sslmode="disable", gssencmode="disable", connect_timeout=60)
        except psycopg2.OperationalError as error:
            if "Connection refused" not in str(error):
                raise
        time.sleep(0.001)
    raise RuntimeError(f"{process.name} ended:\n{process.output()}")


def first_row(binary, running):
    """Seconds."""
    port = free_port()
    begin = time.monotonic()
    process = Process([binary, f"--port={port}", "--auto-iam-authn", INSTANCE],
                      env={"HOME": "/nonexistent", "CSQL_PROXY_SQLADMIN_API_ENDPOINT": running.url,
                           "GCE_METADATA_HOST": running.host})
    try:
        connection = _connect(port, process)
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            cursor.fetchone()
        took = time.monotonic() - begin
        connection.close()
        return took
    finally:
        process.kill()
