"""tests/e2e/test_versions.py -- PostgreSQL 13, 15, 17 and 18 as servers; protocol 3.2 and direct TLS with their libpq."""
import io
import os
import struct
import subprocess
import threading

import psycopg2
import pytest

from lib import peers
from lib.cloudsql_client import openssl
from lib.pooler import Pooler, application_database, libpq_environment
from lib.postgres import Postgres
from lib.waiting import eventually

VERSIONS = [13, 15, 17, 18]
LONG = "select pg_sleep(60)"


@pytest.fixture(scope="module", params=VERSIONS)
def postgres(request):
    with Postgres(peers.postgres_bin(request.param)) as server:
        yield application_database(server)


@pytest.fixture
def pooler(postgres):
    with Pooler(postgres, {"size": 2}) as running:
        yield running


def psql(version, login, *commands, **parameters):
    """The output of Debian's psql with the libpq of `version`; `parameters` go into the connection string."""
    conninfo = " ".join(f"{name}={value}" for name, value in parameters.items())
    arguments = [argument for command in commands for argument in ("-c", command)]
    environment = {**libpq_environment(login), "PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "30", "PGSSLMODE": "disable"}
    if version != 15:
        libraries = os.path.join(os.path.dirname(peers.postgres_bin(version)), "lib")
        assert os.path.exists(os.path.join(libraries, "libpq.so.5")), libraries
        environment["LD_LIBRARY_PATH"] = libraries
    done = subprocess.run(["/usr/lib/postgresql/15/bin/psql", "-X", "-At", *arguments, conninfo], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_login_and_its_refusal(pooler, postgres):
    """SCRAM against this version; the client is told this version's parameters."""
    for _ in range(3):
        connection = pooler.connect()
        assert connection.server_version // 10000 == postgres.version()
        connection.close()
    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "app"'):
        pooler.connect(password="wrong")


def test_prepared_settings_and_copy(pooler, postgres):
    first, second = pooler.connect(), pooler.connect()
    for number, connection in enumerate((first, second)):
        connection.autocommit = True
        connection.cursor().execute("set timezone to %s", (["Asia/Tokyo", "America/Lima"][number],))
    first.cursor().execute("create table item (id int, name text)")
    first.cursor().copy_expert("copy item from stdin", io.StringIO("".join(f"{n}\tname {n}\n" for n in range(1000))))
    out = io.StringIO()
    second.cursor().copy_expert("copy (select count(*) from item) to stdout", out)
    assert out.getvalue() == "1000\n"
    for _ in range(5):
        for number, connection in enumerate((first, second)):
            with connection.cursor() as cursor:
                cursor.execute("show timezone")
                assert cursor.fetchone()[0] == ["Asia/Tokyo", "America/Lima"][number]
                with pytest.raises(psycopg2.errors.DivisionByZero):
                    cursor.execute("select 1 / 0")
    psycopg = peers.module("psycopg", "python3-psycopg")
    with psycopg.connect(**pooler.login, autocommit=True) as connection:
        connection.prepare_threshold = 0
        for number in range(20):
            assert connection.execute("select %s::int, name from item where id = %s", (number, number)).fetchone() == \
                (number, f"name {number}")
            first.cursor().execute("select 1")
    first.cursor().execute("drop table item")
    first.close()
    second.close()


def test_cancel(pooler, postgres):
    connection = pooler.connect()
    errors = []

    def run():
        try:
            connection.cursor().execute(LONG)
        except psycopg2.Error as error:
            errors.append(error.pgcode)
    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where state = 'active' and query = %s",
                                    (LONG,)) == [(1,)], "PostgreSQL runs it")
    connection.cancel()
    thread.join(30)
    assert errors == ["57014"]
    connection.close()


@pytest.mark.parametrize("client", [15, 17, 18])  # Debian's psql needs a libpq of at least 15
def test_libpq_of_each_version(pooler, client):
    assert psql(client, pooler.login, "select 6 * 7", "show client_encoding") == ["42", "UTF8"]


def test_protocol_3_2(pooler):
    """libpq of 18 insists on 3.2, whatever the server speaks: sidepool answers for itself."""
    assert psql(18, pooler.login, "select 'three two'", min_protocol_version="3.2", max_protocol_version="3.2") == ["three two"]
    assert psql(18, pooler.login, "select 'latest'", max_protocol_version="latest") == ["latest"]
    with pytest.raises(AssertionError, match="min_protocol_version"):  # else the test would prove nothing
        psql(15, pooler.login, "select 1", min_protocol_version="3.2")


def test_protocol_3_2_has_a_longer_cancel_key(pooler):
    import socket

    from lib.wire import Wire, password, startup
    with socket.create_connection(("127.0.0.1", pooler.port), timeout=30) as sock:
        wire = Wire(sock)
        wire.send(startup(version=0x00030002, user="app", database="app"))
        assert wire.read() == ("R", struct.pack("!i", 3))
        wire.send(password("secret"))
        key = [body for kind, body in wire.read_until("Z") if kind == "K"][0]
    assert len(key) == 4 + 32


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    return folder


@pytest.mark.parametrize("client", [17, 18])
def test_direct_tls(postgres, certificate, client):
    """sslnegotiation=direct: the first byte is TLS, with ALPN "postgresql"; and the older way on the same listener."""
    tables = {"upstream.listen_tls": {"mode": "require", "cert_file": f"{certificate}/cert.pem",
                                      "key_file": f"{certificate}/key.pem"}}
    with Pooler(postgres, {"size": 2}, tables=tables) as pooler:
        for negotiation in ("direct", "postgres"):
            assert psql(client, pooler.login, "select 'over TLS'", sslmode="verify-full", sslnegotiation=negotiation,
                        sslrootcert=f"{certificate}/cert.pem") == ["over TLS"]
        with pytest.raises(AssertionError, match="(?i)ssl|encrypt|tls"):
            psql(client, pooler.login, "select 1", sslmode="disable")
