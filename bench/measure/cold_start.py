"""bench/measure/cold_start.py -- from the start of a process to the first row through it, against the emulator.

Both are called with exactly the arguments of a service.yaml and log in with IAM.
"""
import time

import psycopg2

from lib.ports import free_port
from lib.process import Process

from .cloud import INSTANCE, environment
from .database import DATABASE, IAM_USER


def _connect(port, process):
    """As an application that starts at the same time does: again until somebody listens. No probe comes first, because
    the Auth Proxy dials the instance for each connection."""
    while process.running():
        try:
            return psycopg2.connect(host="127.0.0.1", port=port, user=IAM_USER, dbname=DATABASE, password="x",
                                    sslmode="disable", gssencmode="disable", connect_timeout=60)
        except psycopg2.OperationalError as error:
            if "Connection refused" not in str(error):
                raise
        time.sleep(0.001)
    raise RuntimeError(f"{process.name} ended:\n{process.output()}")


def first_row(binary, running):
    """Milliseconds."""
    port = free_port()
    begin = time.monotonic()
    process = Process([binary, f"--port={port}", "--auto-iam-authn", INSTANCE], env=environment(running))
    try:
        connection = _connect(port, process)
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            cursor.fetchone()
        took = time.monotonic() - begin
        connection.close()
        return {"ms": took * 1000}
    finally:
        process.kill()
