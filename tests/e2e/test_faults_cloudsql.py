"""tests/e2e/test_faults_cloudsql.py -- the instance, its API or its certificates fail: what clients see (product.md §6)."""
import concurrent.futures
import contextlib

import psycopg2
import pytest

from lib import wire
from lib.emulator import Emulator
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy, metric_values
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"
POOL = """
[pool]
size = 2
server_connect_timeout = "{connect}"
[[upstream]]
instance = "{name}"
auto_iam_authn = true
listen = ["127.0.0.1:{port}"]
[metrics]
listen = "127.0.0.1:{http}"
"""


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role(ROLE)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


@contextlib.contextmanager
def service(emulator, tmp_path, connect="15s"):
    port, http = free_port(), free_port()
    file = tmp_path / "sidepool.toml"
    file.write_text(POOL.format(name=NAME, port=port, http=http, connect=connect))
    with Proxy(["--config", str(file)], env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url,
                                             "GCE_METADATA_HOST": emulator.host}) as running:
        running.port, running.http = port, http
        yield running


def connect(running):
    connection = psycopg2.connect(host="127.0.0.1", port=running.port, user=ROLE, dbname="postgres")
    connection.autocommit = True
    return connection


def value(connection, text="select 1"):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def refusal(running):
    """The fields of the error that a login ends with."""
    import socket
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as sock:
        w = wire.Wire(sock)
        w.send(wire.startup(user=ROLE, database="postgres"))
        kind, body = w.read()
        assert kind == "E", kind
        assert sock.recv(1) == b""
        return wire.error_fields(body)


def servers(running):
    return sum(v for name, v in metric_values(running.http).items() if name.startswith("sidepool_servers{"))


def test_api_refuses(emulator, tmp_path):
    emulator.faults("connectSettings", {"status": 403, "reason": "notAuthorized", "message": "no right", "times": -1})
    with service(emulator, tmp_path) as running:
        fields = refusal(running)
        assert fields["C"] == "28000" and fields["S"] == "FATAL"
        assert "notAuthorized" in str(fields) or "no right" in str(fields), fields
        assert "H" in fields, "there is a remedy"
        emulator.clear_faults()
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


def try_connect(running):
    try:
        return connect(running)
    except psycopg2.OperationalError:
        return None


def test_api_answers_500_for_a_while(emulator, tmp_path):
    emulator.faults("connectSettings", {"status": 500, "times": 2})
    with service(emulator, tmp_path) as running:
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


@pytest.mark.parametrize("mode", ["refuse", "hang", "reset_before_handshake", "reset_after_handshake",
                                  "close_after_handshake", "hang_after_handshake", "alert_certificate_expired"])
def test_instance_cannot_be_reached(emulator, tmp_path, mode):
    with service(emulator, tmp_path, connect="2s") as running:
        emulator.side(mode)
        fields = refusal(running)
        assert fields["C"] in ("08001", "28000") and fields["S"] == "FATAL" and fields["M"], fields
        emulator.side("none")
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


@pytest.mark.parametrize("how", ["close", "close_notify", "reset"])
def test_failover_is_only_a_delay_for_idle_clients(emulator, tmp_path, how):
    with service(emulator, tmp_path) as running:
        clients = [connect(running) for _ in range(5)]
        for c in clients:
            assert value(c) == 1
        emulator.side("refuse")
        assert emulator.kill_connections(how) >= 1
        eventually(lambda: servers(running) == 0, "the servers are gone")
        with concurrent.futures.ThreadPoolExecutor(5) as threads:
            answers = [threads.submit(value, c, "select 2") for c in clients]
            eventually(lambda: any(v >= 1 for name, v in metric_values(running.http).items()
                                   if name.startswith("sidepool_server_login_failures_total")), "a dial has failed")
            emulator.side("none")
            assert [a.result(60) for a in answers] == [2] * 5
        for c in clients:
            c.close()


def test_certificate_that_is_refused_is_replaced_before_anybody_hears_of_it(emulator, tmp_path):
    with service(emulator, tmp_path) as running:
        before = emulator.count("generateEphemeralCert.ok")
        eventually(lambda: emulator.count("generateEphemeralCert.ok") >= 1, "a certificate is there")
        emulator.side("alert_certificate_expired", times=1)
        c = connect(running)
        assert value(c) == 1
        assert emulator.count("generateEphemeralCert.ok") > before
        c.close()


def test_stalled_instance_stops_nobody_but_its_users(emulator, tmp_path):
    """A client that gives up in the middle leaves no server behind that another could get."""
    with service(emulator, tmp_path) as running:
        c = connect(running)
        assert value(c) == 1
        emulator.side("none", stall=True)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            answer = thread.submit(value, c, "select 'mine'")
            eventually(lambda: any('state="active"' in name and v == 1 for name, v in metric_values(running.http).items()
                                   if name.startswith("sidepool_clients{")), "it is on its way")
            emulator.side("none", stall=False)
            assert answer.result(60) == "mine"
        c.close()
