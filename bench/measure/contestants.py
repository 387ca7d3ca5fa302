"""bench/measure/contestants.py -- starts what is compared, in front of the same PostgreSQL.

A pool has 10 servers, whatever the number of clients. What stands in front of the emulator is in cloud.py.
"""
import os
import re
import resource
import shutil
import subprocess
import tempfile

from lib import paths
from lib.pooler import toml_table
from lib.ports import free_port
from lib.postgres import unprivileged_user
from lib.process import Process
from lib.sidepool import Proxy
from lib.waiting import eventually

from .database import DATABASE, PASSWORD, SECOND, TRUSTED, USER

POOL = 10
CLIENTS = 20000


class Unavailable(Exception):
    """A contestant that this machine cannot have, and why."""


def raise_fd_limit():
    """10,000 clients need as many descriptors on each side; children inherit it. Returns the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def peer(name):
    """The path of what scripts/peers fetches."""
    done = subprocess.run([paths.ROOT / "scripts" / "peers", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.strip().splitlines()[-1]


class Contestant:
    """Running programs behind `port`; the CPU time and memory of `pids` count, of nobody for PostgreSQL itself."""

    def __init__(self, name, port, processes=(), folders=(), pids=None):
        self.name, self.port, self.processes, self.folders = name, port, list(processes), list(folders)
        self.pids = pids if pids is not None else [process.pid for process in self.processes]

    def close(self):
        for process in self.processes:
            try:
                if process.running():
                    process.stop()
            finally:
                process.kill()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def write_config(name, text):
    """(folder, path) of a configuration file that any user may read."""
    folder = tempfile.mkdtemp(prefix="sp-bench-")
    os.chmod(folder, 0o755)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return folder, path


def sidepool_config(port, upstream, isolation="reset", workers=1):
    """`upstream`: keys of [[upstream]], with tables inside as dictionaries."""
    plain = {key: value for key, value in upstream.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in upstream.items() if isinstance(value, dict)}
    return "".join([toml_table("[server]", {"workers": workers, "max_client_conn": CLIENTS}),
                    toml_table("[pool]", {"size": POOL, "isolation": isolation}),
                    toml_table("[[upstream]]", {**plain, "listen": [f"127.0.0.1:{port}"]}),
                    *(toml_table(f"[upstream.{key}]", value) for key, value in tables.items())])


def sidepool(postgres, name="sidepool", binary=None, tls="disable", listen_tls=None, isolation="reset", workers=1):
    """`tls`: the mode towards PostgreSQL; `listen_tls`: a folder with server.pem and server.key, for clients."""
    port = free_port()
    upstream = {"name": "pg", "hosts": [postgres.tcp], "tls": {"mode": tls}}
    if listen_tls:
        upstream["listen_tls"] = {"mode": "require", "cert_file": os.path.join(listen_tls, "server.pem"),
                                  "key_file": os.path.join(listen_tls, "server.key")}
    folder, config = write_config("sidepool.toml", sidepool_config(port, upstream, isolation, workers))
    process = Proxy(["--config", config], binary=binary or paths.sidepool(), name=name)
    return Contestant(name, port, [process], [folder])


def pgbouncer(server_port, name="pgbouncer", tls="disable", auth="scram-sha-256", prefix=()):
    """Its defaults but for what makes the two do the same work; lines about each login are off, as sidepool's are."""
    port, program = free_port(), peer("pgbouncer")
    users, path = write_config("users.txt", f'"{USER}" "{PASSWORD}"\n"{TRUSTED}" ""\n')
    databases = "".join(f"{name} = host=127.0.0.1 port={server_port} dbname={name}\n" for name in (DATABASE, SECOND))
    folder, config = write_config("pgbouncer.ini", f"""[databases]
{databases}[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {auth}
auth_file = {path}
pool_mode = transaction
default_pool_size = {POOL}
max_client_conn = {CLIENTS - 1000}
max_prepared_statements = 200
server_tls_sslmode = {tls}
log_connections = 0
log_disconnections = 0
""")
    process = Process([*prefix, program, config], name="pgbouncer", user=unprivileged_user())
    contestant = Contestant(name, port, [process], [users, folder])
    try:
        eventually(lambda: process.find("listening on 127.0.0.1"), "PgBouncer listens")
    except BaseException:
        contestant.close()
        raise
    return contestant


def copy_loop(postgres, tls=False):
    """The floor: see bench/floor/copy_loop.cpp."""
    process = Process([paths.BUILD / "bench" / "copy_loop", "--to", str(postgres.port), *(["--tls"] if tls else [])],
                      name="copy loop")
    try:
        port = int(process.wait_line(r"listening on 127.0.0.1:(\d+)")[1])
    except BaseException:
        process.kill()
        raise
    return Contestant("copy loop", port, [process])


def direct(postgres):
    return Contestant("direct", postgres.port)


def family(pid):
    """A process and all below it."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return [pid, *(below for child in children.read().split() for below in family(int(child)))]


def running(name, port):
    """A peer that somebody else has started: whoever listens on the port."""
    found = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    pids = sorted({int(pid) for pid in re.findall(r"pid=(\d+)", found)})
    if not pids:
        raise Unavailable(f"no process that could be measured listens on port {port} ({name})")
    return Contestant(name, port, pids=pids)
