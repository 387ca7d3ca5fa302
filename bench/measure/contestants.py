"""bench/measure/contestants.py -- starts what is compared: sidepool in its isolation modes, PgBouncer, PostgreSQL.

All of them serve the same private PostgreSQL. A pool has 10 servers, whatever the number of clients.
"""
import os
import resource
import shutil
import subprocess
import tempfile

from lib import paths
from lib.pooler import application_database, toml_table
from lib.ports import free_port
from lib.postgres import HBA, Postgres, unprivileged_user
from lib.process import Process
from lib.sidepool import Proxy
from lib.waiting import eventually

POOL = 10
USER, PASSWORD, DATABASE = "app", "secret", "app"
# Whom PostgreSQL asks nothing: 10,000 logins of it cost the load client no SCRAM.
TRUSTED = "idle"
CLIENTS = 20000


class Unavailable(Exception):
    """A contestant that this machine cannot have, and why."""


def raise_fd_limit():
    """10,000 clients need as many descriptors on each side; children inherit it. Returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def database(scale):
    """The PostgreSQL all of them serve, with pgbench's tables."""
    postgres = Postgres(settings={"shared_buffers": "256MB"},
                        hba=HBA.replace("host all all", f"host all {TRUSTED} 127.0.0.1/32 trust\nhost all all", 1))
    try:
        application_database(postgres)
        postgres.create_role(TRUSTED)
        subprocess.run([os.path.join(postgres.bin_dir, "pgbench"), "-i", "-q", "-s", str(scale)], check=True,
                       env=environment(postgres.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        postgres.sql("vacuum analyze", dbname=DATABASE)
        postgres.sql("checkpoint")
    except BaseException:
        postgres.close()
        raise
    return postgres


def environment(port, user=USER):
    """For libpq programs."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": user,
            "PGPASSWORD": PASSWORD, "PGDATABASE": DATABASE, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


class Contestant:
    """A running program on `port`; `pid` is whose CPU and memory count, None for PostgreSQL itself."""

    def __init__(self, name, port, process=None, folder=None):
        self.name, self.port, self.process, self.folder = name, port, process, folder
        self.pid = process.pid if process else None

    def close(self):
        if self.process:
            if self.process.running():
                self.process.stop()
            self.process.kill()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def direct(postgres):
    return Contestant("direct", postgres.port)


def sidepool(postgres, isolation="reset", workers=1, binary=None, name="sidepool"):
    port = free_port()
    folder = tempfile.mkdtemp(prefix="sp-bench-")
    config = os.path.join(folder, "sidepool.toml")
    with open(config, "w", encoding="ascii") as file:
        file.write(toml_table("[server]", {"workers": workers, "max_client_conn": CLIENTS}))
        file.write(toml_table("[pool]", {"size": POOL, "isolation": isolation}))
        file.write(toml_table("[[upstream]]", {"name": "pg", "hosts": [postgres.tcp],
                                               "listen": [f"127.0.0.1:{port}"]}))
    process = Proxy(["--config", config], binary=binary or paths.sidepool(), name=name)
    return Contestant(name, port, process, folder)


def pgbouncer_binary():
    done = subprocess.run([paths.ROOT / "scripts" / "peers", "pgbouncer"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.strip().splitlines()[-1]


def pgbouncer(postgres, auth="scram-sha-256"):
    """Its defaults but for what makes the two do the same work; lines about each login are off, as sidepool's are."""
    port = free_port()
    folder = tempfile.mkdtemp(prefix="sp-bench-")
    os.chmod(folder, 0o755)
    users, config = os.path.join(folder, "users.txt"), os.path.join(folder, "pgbouncer.ini")
    with open(users, "w", encoding="ascii") as file:
        file.write(f'"{USER}" "{PASSWORD}"\n"{TRUSTED}" ""\n')
    with open(config, "w", encoding="ascii") as file:
        file.write(f"[databases]\n{DATABASE} = host=127.0.0.1 port={postgres.port} dbname={DATABASE}\n[pgbouncer]\n"
                   f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = {auth}\n"
                   f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = {POOL}\n"
                   f"max_client_conn = {CLIENTS - 1000}\nmax_prepared_statements = 200\n"
                   "log_connections = 0\nlog_disconnections = 0\n")
    process = Process([pgbouncer_binary(), config], name="pgbouncer", user=unprivileged_user())
    contestant = Contestant("pgbouncer", port, process, folder)
    try:
        eventually(lambda: process.find("listening on 127.0.0.1"), "PgBouncer listens")
    except BaseException:
        contestant.close()
        raise
    return contestant
