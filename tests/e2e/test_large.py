"""tests/e2e/test_large.py -- a GiB passes either way in little memory, slow readers stop nobody, probes cost nothing.

Peak memory is VmHWM of the release build, so these tests do not run under a sanitizer.
"""
import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import struct

import pytest

from lib import wire
from lib.certificates import authority
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres, unprivileged_user
from lib.waiting import eventually

GIB = 1 << 30
MOST_MEMORY = 64 << 20
ROW = 60_000  # bytes of a line in COPY, and of a row
ROWS = GIB // ROW + 1
READY = b"Z\0\0\0\5I"


@pytest.fixture(scope="module")
def certificates():
    with authority("localhost") as folder:
        os.chmod(folder, 0o755)
        shutil.copy(f"{folder}/localhost.key", f"{folder}/server.key")  # PostgreSQL wants a private one of its own
        os.chmod(f"{folder}/server.key", 0o600)
        if unprivileged_user():
            os.chown(f"{folder}/server.key", pwd.getpwnam(unprivileged_user()).pw_uid, -1)
        yield folder


@pytest.fixture(scope="module")
def postgres(certificates):
    settings = {"ssl": "on", "ssl_cert_file": f"{certificates}/localhost.pem",
                "ssl_key_file": f"{certificates}/server.key", "log_connections": "on"}
    hba = "local all all trust\nhost all all all password\n"  # as login() answers, with and without a pool
    with Postgres(settings=settings, hba=hba) as server:
        application_database(server)
        server.sql("create table sink (line text); grant all on sink to app", dbname="app")
        yield server


@contextlib.contextmanager
def sidepool(postgres, certificates, tls, mode="transaction"):
    plain = {"upstream.tls": {"mode": "disable"}}
    encrypted = {"upstream.tls": {"mode": "verify-full", "ca_file": f"{certificates}/ca.pem"},
                 "upstream.listen_tls": {"mode": "require", "cert_file": f"{certificates}/localhost.pem",
                                         "key_file": f"{certificates}/localhost.key"}}
    with Pooler(postgres, {"mode": mode, "size": 2}, {"workers": 1}, {"hosts": [f"localhost:{postgres.port}"]},
                encrypted if tls else plain) as running:
        running.tls = tls
        yield running


@pytest.fixture(name="pooler", params=["plain", "tls"])
def make_pooler(postgres, certificates, request):
    with sidepool(postgres, certificates, request.param == "tls") as running:
        yield running


def login(pooler):
    """A session as a bare socket."""
    connection = socket.create_connection(("127.0.0.1", pooler.port), timeout=60)
    if pooler.tls:
        connection.sendall(wire.SSL_REQUEST)
        assert connection.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    w = wire.Wire(connection)
    w.send(wire.startup(user="app", database="app"))
    assert w.read() == ("R", b"\0\0\0\3")
    w.send(wire.password("secret"))
    assert w.read_until("Z", "E")[-1][0] == "Z"
    return connection


def count_to_ready(connection):
    """Reads up to the ReadyForQuery that ends what was asked; bytes."""
    buffer, total, tail = bytearray(1 << 20), 0, b""
    while tail != READY:
        n = connection.recv_into(buffer)
        assert n > 0, "the connection has ended"
        total += n
        tail = (tail + bytes(buffer[max(0, n - 6):n]))[-6:]
    return total


def peak_memory(pooler):
    with open(f"/proc/{pooler.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


@pytest.mark.deadline(300)
def test_a_gib_passes_in_either_direction(pooler):
    connection = login(pooler)
    result = f"select repeat('x', {ROW}) from generate_series(1, {ROWS})"
    for text in (result, f"copy ({result}) to stdout"):
        connection.sendall(wire.query(text))
        assert count_to_ready(connection) > GIB
    connection.sendall(wire.query("copy sink from stdin where false"))
    header = b""
    while not header.startswith(b"G"):
        header = connection.recv(1 << 16)
    line = b"d" + struct.pack("!I", ROW + 4) + b"y" * (ROW - 1) + b"\n"
    for _ in range(ROWS // 16 + 1):
        connection.sendall(line * 16)
    connection.sendall(b"c\0\0\0\4")
    count_to_ready(connection)
    connection.sendall(wire.query("select 'still here'"))
    assert count_to_ready(connection) < 200
    connection.close()
    assert peak_memory(pooler) < MOST_MEMORY


def test_a_client_that_does_not_read_stops_its_own_server_only(pooler, postgres):
    slow, other = login(pooler), login(pooler)
    slow.sendall(wire.query(f"select repeat('x', {ROW}) from generate_series(1, {ROWS})"))
    stuck = "select count(*) from pg_stat_activity where usename = 'app' and wait_event = 'ClientWrite'"
    eventually(lambda: postgres.sql(stuck)[0][0] == 1, "its server waits for it")
    for _ in range(20):
        other.sendall(wire.query("select 1"))
        assert count_to_ready(other) < 200
    assert peak_memory(pooler) < MOST_MEMORY
    slow.close()
    eventually(lambda: pooler.total("sidepool_servers", 'state="active"') == 0, "its server is free again")
    other.sendall(wire.query("select 1"))
    assert count_to_ready(other) < 200
    other.close()


@pytest.mark.parametrize("mode", ["transaction", "none"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_client_that_has_fallen_behind_catches_up(postgres, certificates, tls, mode):
    """Either way, and also with what TLS had read before its turn came."""
    with sidepool(postgres, certificates, tls, mode) as pooler:
        connection = login(pooler)
        stuck = "select count(*) from pg_stat_activity where usename = 'app' and wait_event = 'ClientWrite'"
        for rows in (400, 411, 433):
            connection.sendall(wire.query(f"select repeat('x', {ROW}) from generate_series(1, {rows})"))
            eventually(lambda: postgres.sql(stuck)[0][0] == 1, "its server waits for it")
            assert count_to_ready(connection) > rows * ROW
        connection.sendall(wire.query("copy sink from stdin where false"))
        header = b""
        while b"G\0\0\0" not in header:
            header += connection.recv(1 << 16)
        backend = postgres.sql("select pid from pg_stat_activity where usename = 'app' and query like 'copy sink%'")
        os.kill(backend[0][0], signal.SIGSTOP)
        try:
            connection.settimeout(1)
            sent, line = 0, b"d" + struct.pack("!I", ROW + 4) + b"y" * (ROW - 1) + b"\n"
            with contextlib.suppress(TimeoutError):
                while sent < GIB:
                    sent += connection.send(line[sent % len(line):])
        finally:
            os.kill(backend[0][0], signal.SIGCONT)
        assert len(line) < sent < GIB, "everybody has stopped reading"
        connection.settimeout(60)
        connection.sendall(line[sent % len(line):] + b"c\0\0\0\4")
        count_to_ready(connection)
        connection.sendall(wire.query("select 'still here'"))
        assert count_to_ready(connection) < 200
        connection.close()


def test_a_probe_costs_no_server_and_no_log_line(pooler, postgres):
    received = len(postgres.process.find("connection received"))
    said = pooler.process.mark()
    for number in range(60):
        probe = socket.create_connection(("127.0.0.1", pooler.port), timeout=30)
        if number % 3 == 1:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves with a reset
        if number % 3 == 2:
            probe.sendall(wire.SSL_REQUEST)
        probe.close()
    eventually(lambda: pooler.total("sidepool_clients") == 0, "the probes are gone")
    connection = login(pooler)  # behind them: what they would have caused has happened by now
    connection.close()
    assert pooler.total("sidepool_server_logins_total") <= 1
    assert len(postgres.process.find("connection received")) - received <= 2  # the login, and TLS's own attempt
    lines = pooler.process.output(after=said).splitlines()  # of that login, and of nobody else
    assert len([line for line in lines if "Accepted connection" in line]) == 1, lines
    assert all("Accepted connection" in line or "closed the connection" in line for line in lines), lines
    assert len(lines) <= 2, lines
