"""tests/e2e/test_cli_start.py -- from the Auth Proxy's command line to listeners, log lines and exit codes (cloudsql.md §6)."""
import json
import os
import re
import signal
import socket
import stat
import struct
import tempfile
import threading

import psycopg2
import pytest

from lib import paths, peers
from lib.emulator import Emulator
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get, wait_status
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
OTHER = "my-project:us-central1:other"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
NOWHERE = "http://127.0.0.1:1"  # nobody answers there
TIME = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice", "secret")
        yield server


@pytest.fixture(scope="module")
def module_emulator(postgres):
    with Emulator(postgres, [NAME, OTHER], principal=PRINCIPAL, more=["--token", f"T={PRINCIPAL}"]) as running:
        yield running


@pytest.fixture
def emulator(module_emulator):
    yield module_emulator
    module_emulator.clear_faults()
    module_emulator.post("principals", email=PRINCIPAL, connect=True)


@pytest.fixture
def folder():
    """Short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="sp-", dir="/tmp") as path:
        yield path


def arguments(url=NOWHERE, *more):
    return ["--token", "T", "--sqladmin-api-endpoint", url, *more]


def failed(*args, env=None, code=1):
    """stderr of a start that must not succeed."""
    proxy = Proxy([*args], env=env, ready=False)
    try:
        assert proxy.wait() == code, proxy.output()
        return proxy.output("err")
    finally:
        proxy.kill()


def connect(**where):
    connection = psycopg2.connect(user="alice", password="secret", dbname="postgres", connect_timeout=30, **where)
    connection.autocommit = True
    return connection


def one(connection):
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        return cursor.fetchone()[0]


# ---- Start


def test_it_starts_while_the_api_is_away_and_holds_clients(emulator):
    emulator.faults("connectSettings", {"status": 503, "times": -1})
    port, http = free_ports(2)
    args = arguments(emulator.url, "--port", str(port), "--health-check", "--http-port", str(http), NAME)
    with Proxy(args) as proxy:
        got = []
        client = threading.Thread(target=lambda: got.append(one(connect(host="127.0.0.1", port=port))))
        client.start()
        proxy.wait_line(re.escape(f"[{NAME}] Accepted connection"))
        assert http_get(http, "/liveness")[0] == 200
        assert http_get(http, "/startup") == (503, "error")  # deviation: startup-probe
        assert http_get(http, "/readiness")[0] == 503
        emulator.clear_faults()
        client.join(60)
        assert got == [1]
        wait_status(http, "/startup", 200)


def test_a_lazy_start_asks_nothing(emulator, folder):
    """Google's proxy asks for the engine before it opens a unix socket."""
    counts = []
    for program in (peers.auth_proxy(), paths.sidepool()):
        emulator.reset_records()
        with Proxy(arguments(emulator.url, "--lazy-refresh", "--unix-socket", folder, NAME), binary=program):
            counts.append(emulator.count("connectSettings"))
    assert counts == [1, 0]  # deviation: api-early


def test_what_it_says(emulator):
    port, http, admin = free_ports(3)
    args = arguments(emulator.url, "--port", str(port), "--health-check", "--http-port", str(http), "--quitquitquit",
                     "--admin-port", str(admin), NAME)
    with Proxy(args) as proxy:
        for text in ("Authorizing with OAuth2 token", f"[{NAME}] Listening on 127.0.0.1:{port}",
                     f"Starting health check server at localhost:{http}",
                     f"Enabling quitquitquit endpoint at localhost:{admin}",
                     "The proxy has started successfully and is ready for new connections!"):
            proxy.wait_line(TIME + re.escape(text) + "$", stream="out")
        connection = connect(host="127.0.0.1", port=port)
        assert one(connection) == 1
        local = proxy.wait_line(TIME + re.escape(f"[{NAME}] Accepted connection from 127.0.0.1:") + r"(\d+)$",
                                stream="out")[1]
        assert local != str(port)
        connection.close()
        proxy.wait_line(TIME + re.escape(f"[{NAME}] client closed the connection") + "$", stream="out")
        connection = connect(host="127.0.0.1", port=port)
        with pytest.raises(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(pg_backend_pid())")
        proxy.wait_line(TIME + re.escape(f"[{NAME}] instance closed the connection") + "$", stream="out")
        assert proxy.output("err") == ""
        proxy.send_signal(signal.SIGTERM)
        proxy.wait_line(TIME + r"SIGTERM signal received\. Shutting down\.\.\.$", stream="out")
        assert proxy.wait() == 143


def test_a_probe_that_only_connects_costs_no_line(emulator):
    port = free_port()
    with Proxy(arguments(emulator.url, "--port", str(port), NAME)) as proxy:
        for _ in range(5):
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:  # and one that asks for TLS
            sock.sendall(struct.pack("!II", 8, 80877103))
            assert sock.recv(1) == b"N"
        assert one(connect(host="127.0.0.1", port=port)) == 1
        proxy.wait_line("client closed the connection")
        assert len(proxy.find("Accepted connection")) == 1
        assert len(proxy.find("closed the connection")) == 1


def test_structured_logs(emulator):
    port = free_port()
    with Proxy(arguments(emulator.url, "-l", "--port", str(port), NAME)) as proxy:
        connect(host="127.0.0.1", port=port).close()
        proxy.wait_line("client closed the connection")
        assert proxy.stop() == 143
        for line in proxy.output("out").splitlines():
            record = json.loads(line)
            assert list(record)[:3] == ["timestamp", "severity", "message"]
            assert record["severity"] == "INFO"
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$", record["timestamp"])
        assert proxy.output("err") == ""


def test_quiet_structured_logs_stay_structured():
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        proxy = Proxy(arguments(NOWHERE, "--quiet", "--structured-logs", "--port", str(port), NAME), ready=False)
        try:
            assert proxy.wait() == 1
            assert proxy.output("out") == ""
            records = [json.loads(line) for line in proxy.output("err").splitlines()]
            assert {record["severity"] for record in records} == {"ERROR"}
            said = "\n".join(record["message"] for record in records)
            assert f"[{NAME}] could not listen to address 127.0.0.1:{port}: " in said
            assert (f"The proxy has encountered a terminal error: unable to start: [{NAME}] Unable to mount socket: "
                    in said)
        finally:
            proxy.kill()


def test_quiet_is_quiet(emulator):
    port = free_port()
    with Proxy(arguments(emulator.url, "--quiet", "--port", str(port), NAME), ready=False) as proxy:
        connection = eventually(lambda: _try(port), "it serves")
        connection.close()
        assert proxy.stop() == 143
        assert proxy.output() == ""


def _try(port):
    try:
        return connect(host="127.0.0.1", port=port)
    except psycopg2.OperationalError:
        return None


# ---- Listeners


def test_unix_sockets(emulator, folder):
    one_dir, other_dir = f"{folder}/a", f"{folder}/b"
    os.mkdir(one_dir)
    os.mkdir(other_dir)
    args = arguments(emulator.url, "--unix-socket", one_dir, NAME, f"{OTHER}?unix-socket={other_dir}")
    with Proxy(args) as proxy:
        first, second = f"{one_dir}/{NAME}/.s.PGSQL.5432", f"{other_dir}/{OTHER}/.s.PGSQL.5432"
        assert proxy.listening() == [(NAME, first), (OTHER, second)], "what is said about one instance wins"
        assert stat.S_IMODE(os.stat(first).st_mode) == 0o777
        assert one(connect(host=f"{one_dir}/{NAME}")) == 1
        assert one(connect(host=f"{other_dir}/{OTHER}")) == 1
        proxy.wait_line(re.escape(f"[{NAME}] Accepted connection from"))
        assert proxy.stop() == 143
    assert os.listdir(f"{one_dir}/{NAME}") == [], "the socket is gone, its directory stays"


@pytest.mark.parametrize("given", ["{0}/x", "{0}/x/.s.PGSQL.5432"])
def test_unix_socket_path(emulator, folder, given):
    path = given.format(folder)
    with Proxy(arguments(emulator.url, f"{NAME}?unix-socket-path={path}")) as proxy:
        assert proxy.listening() == [(NAME, f"{folder}/x/.s.PGSQL.5432")]
        assert one(connect(host=f"{folder}/x")) == 1


def test_a_stale_socket_does_not_block_a_restart(emulator, folder):
    args = arguments(emulator.url, f"{NAME}?unix-socket-path={folder}/x")
    killed = Proxy(args)
    killed.kill()
    assert os.path.exists(f"{folder}/x/.s.PGSQL.5432")
    with Proxy(args):
        assert one(connect(host=f"{folder}/x")) == 1
        error = failed(*args)
        assert f"[{NAME}] could not mount unix socket \"{folder}/x/.s.PGSQL.5432\"" in error, "it is in use now"
        assert one(connect(host=f"{folder}/x")) == 1, "and its owner is not disturbed"


def test_psc_of_one_instance():
    """What is said about one instance, although Google's proxy takes the private address for all then."""
    proxy = Proxy(arguments(NOWHERE, "--private-ip", "--print-config", f"{NAME}?psc"), ready=False)
    try:
        assert proxy.wait() == 0
        assert 'ip_type = "psc"' in proxy.output("out")  # deviation: psc-of-an-instance
    finally:
        proxy.kill()


def test_an_unknown_parameter_is_a_warning():
    with Proxy(arguments(NOWHERE, f"{NAME}?port={free_port()}&run-connection-test=true")) as proxy:
        assert f'[{NAME}] ignoring the unknown query param "run-connection-test"' in proxy.output("err")  # deviation: warnings


def test_http_on_ipv6():
    port = free_port()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    line = arguments(NOWHERE, "--health-check", "--http-address", "::1", "--http-port", str(port))
    with Proxy([*line, f"{NAME}?port={free_port()}"]) as proxy:
        assert proxy.find(rf"Starting health check server at \[::1\]:{port}$")
        assert http_get(port, "/liveness", host="::1") == (200, "ok")


def test_sockets_that_cannot_be(folder):
    error = failed(*arguments(NOWHERE, "--unix-socket", f"{folder}/none", NAME))
    assert "No such file or directory" in error and f"{folder}/none" in error
    error = failed(*arguments(NOWHERE, "--unix-socket", folder + "/" + "d" * 80, NAME))
    assert re.search(r"unix socket path .* has \d+ bytes, the system allows 107: choose a shorter directory", error)


def test_skip_failed_instance_config(emulator, folder):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        args = arguments(emulator.url, "--skip-failed-instance-config", f"{NAME}?port={port}", f"{OTHER}?port={busy}",
                         f"{OTHER}?unix-socket={folder}/{'d' * 100}")
        with Proxy(args) as proxy:
            assert proxy.listening() == [(NAME, f"127.0.0.1:{port}")]
            lines = r"\(skipped due to skip-failed-instance-config flag\)$"
            eventually(lambda: len(proxy.find(lines)) == 2, "both are told")  # stderr is another pipe than the ready line's
            skipped = proxy.find(lines)
            assert all(f"[{OTHER}] Unable to mount socket: " in line for line in skipped)
            assert all(line in proxy.output("err") for line in skipped)
            assert one(connect(host="127.0.0.1", port=port)) == 1
        error = failed(*arguments(NOWHERE, "--skip-failed-instance-config", f"{OTHER}?port={busy}"))
        assert "The proxy has encountered a terminal error: unable to start: no listener could be opened" in error


# ---- The connection test


def test_run_connection_test(emulator):
    first, second = free_ports(2)
    args = arguments(emulator.url, "--run-connection-test", f"{NAME}?port={first}", f"{OTHER}?port={second}")
    with Proxy(args) as proxy:
        out = proxy.output("out")
        assert "Connection test started" in out and "Connection test passed" in out
        assert one(connect(host="127.0.0.1", port=second)) == 1


@pytest.mark.parametrize("what", ["api", "tcp", "certificate"])
def test_run_connection_test_that_fails(emulator, what):
    port, second = free_ports(2)
    if what == "api":
        emulator.post("principals", email=PRINCIPAL, connect=False)
    elif what == "tcp":
        emulator.side("refuse", name=OTHER)
    else:
        emulator.side("alert_unknown_ca", name=OTHER)
    error = failed(*arguments(emulator.url, "--run-connection-test", f"{NAME}?port={port}", f"{OTHER}?port={second}"))
    assert re.search(TIME + "Connection test failed$", error, re.M)
    last = error.splitlines()[-1]
    assert re.match(TIME + "The proxy has encountered a terminal error: ", last) and f"[{OTHER}]" in last
    assert (f"[{NAME}]" in last) == (what == "api")
    # deviation: connection-test


def test_a_signal_during_the_connection_test(emulator):
    emulator.faults("connectSettings", {"hold": True, "times": -1})
    proxy = Proxy(arguments(emulator.url, "--run-connection-test", "--port", str(free_port()), NAME), ready=False)
    try:
        proxy.wait_line("Connection test started")
        assert proxy.stop() == 143
        assert "The proxy has encountered a terminal error: SIGTERM signal received" in proxy.output("err")
        assert "ready for new connections" not in proxy.output()
    finally:
        proxy.kill()


# ---- Flags without effect, and bad command lines


def test_debug_serves_nothing(emulator):
    port, admin = free_ports(2)
    args = arguments(emulator.url, "--debug", "--quitquitquit", "--admin-port", str(admin), "--port", str(port), NAME)
    with Proxy(args) as proxy:
        assert proxy.find("Ignoring --debug because sidepool has no Go profiles to serve")
        wait_status(admin, "/debug/pprof/", 404)  # deviation: pprof


def test_telemetry_is_refused_unless_it_is_off():
    error = failed(*arguments(NOWHERE, "--telemetry-project", "p", NAME))
    assert "--telemetry-project is not supported by sidepool" in error  # deviation: telemetry
    off = ["--telemetry-project", "p", "--disable-metrics", "--disable-traces"]
    with Proxy(arguments(NOWHERE, *off, f"{NAME}?port={free_port()}")) as proxy:
        assert proxy.find("Ignoring --telemetry-project because")


def test_a_usage_error_shows_the_usage():
    proxy = Proxy(["--port", "x", NAME], ready=False)
    try:
        assert proxy.wait() == 1
        assert proxy.output("out") == ""
        lines = proxy.output("err").splitlines()
        assert lines[0].startswith('Error: invalid argument "x" for "-p, --port" flag: ') and lines[1] == "Usage:"
    finally:
        proxy.kill()


def listens_to(proxy, number):
    with open(f"/proc/{proxy.pid}/status", encoding="ascii") as status:
        masks = dict(line.split(":\t") for line in status if line.startswith("Sig"))
    caught, held = (int(masks[name], 16) >> (number - 1) & 1 for name in ("SigCgt", "SigBlk"))
    return bool(caught and not held)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_a_pipe_that_nobody_writes(folder, number):
    pipe = os.path.join(folder, "config")
    os.mkfifo(pipe)
    proxy = Proxy(["--config", pipe], ready=False)
    try:
        eventually(lambda: listens_to(proxy, number), "it waits")
        proxy.send_signal(number)
        assert proxy.wait() == 128 + number
    finally:
        proxy.kill()


def test_config_file(emulator, tmp_path):
    port = free_port()
    file = tmp_path / "proxy.yaml"
    file.write_text(f"instance-connection-name: {NAME}\nport: {port}\ntoken: T\n"
                    f"sqladmin-api-endpoint: {emulator.url}\nstructured-logs: true\n")
    for given in (["--config-file", str(file)], []):
        env = {} if given else {"CSQL_PROXY_CONFIG_FILE": str(file)}
        with Proxy(given, env=env) as proxy:
            assert proxy.log_records()
            assert one(connect(host="127.0.0.1", port=port)) == 1
    file.write_text("prot: 1\n")
    assert f'failed to load configuration from {file}:1: unknown key "prot"; did you mean "port"?' in failed(
        "--config-file", str(file), NAME)
