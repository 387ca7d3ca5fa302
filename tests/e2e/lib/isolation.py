"""tests/e2e/lib/isolation.py -- what the isolation client expects to find, and PostgreSQL restarted under it."""
import signal
import subprocess

from . import paths
from .process import Process
from .waiting import DEADLINE

DATABASES = ("iso_a", "iso_b")
USERS = ("iso_one", "iso_two")
# Everybody is let in over TCP: the client speaks the protocol by hand.
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
# A commit that was answered survives the restarts of this test.
SETTINGS = {"synchronous_commit": "on", "full_page_writes": "on"}
SET_APP = """create function set_app(v text) returns text language plpgsql as
$$ begin return set_config('app.marker', v, false); end $$"""


def prepare(postgres):
    for user in USERS:
        postgres.create_role(user)
    for database in DATABASES:
        postgres.sql(f"create database {database}")
        postgres.sql("create table journal (marker text, n bigint)", dbname=database)
        postgres.sql("create table inbox (v text)", dbname=database)
        postgres.sql("grant all on journal, inbox to public", dbname=database)
        postgres.sql(SET_APP, dbname=database)


def client(postgres, port, clients, seconds, size, least, seed=1):
    return Process([paths.built("tests/e2e/isolation/isolation"), "--pooled", f"127.0.0.1:{port}", "--direct",
                    postgres.tcp, "--clients", str(clients), "--seconds", str(seconds), "--size", str(size), "--seed",
                    str(seed), "--least", str(least)], name="isolation")


def run_restarting(postgres, load, every, rounds):
    """Waits for the end of `load`; PostgreSQL is restarted `rounds` times, by turns politely and at once."""
    modes = (signal.SIGINT, signal.SIGQUIT)
    for number in range(rounds):
        try:
            load.child.wait(every)
            break
        except subprocess.TimeoutExpired:
            postgres.restart(modes[number % len(modes)])
    return load.wait(timeout=every + 6 * DEADLINE)  # longer than a client waits before that is a finding
