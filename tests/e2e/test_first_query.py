"""tests/e2e/test_first_query.py -- the command line of a service.yaml, and the first rows through it."""
import os
import subprocess

import psycopg2
import pytest

from lib import peers
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, Emulator
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice", "secret")
        server.create_role(ROLE)
        yield server


@pytest.fixture(scope="module")
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


@pytest.fixture(scope="module")
def service(emulator):
    """Exactly the arguments of the issue's service.yaml; emulator and credentials come by environment."""
    emulator.reset_records()
    port = free_port()
    with Proxy([f"--port={port}", "--auto-iam-authn", NAME],
               env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "GCE_METADATA_HOST": emulator.host}) as running:
        running.port = port
        yield running


def psql(service, user, text, password=None, dbname="postgres", sslmode="prefer"):
    """psql as a person would call it; (exit code, stdout, stderr)."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PGCONNECT_TIMEOUT": "30"}
    if password is not None:
        environment["PGPASSWORD"] = password
    done = subprocess.run(
        ["/usr/lib/postgresql/15/bin/psql", "-X", "-w", "-At", "-v", "VERBOSITY=verbose", "-c", text,
         f"host=127.0.0.1 port={service.port} user={user} dbname={dbname} sslmode={sslmode}"],
        env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def refusal_on_the_wire(port, user, dbname, password):
    """Fields of the ErrorResponse that ends a login: psycopg2 keeps no SQLSTATE of a failed connection."""
    import socket

    from lib.wire import Wire, error_fields, startup
    from lib.wire import password as password_message
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        wire = Wire(sock)
        wire.send(startup(user=user, database=dbname))
        kind, body = wire.read()
        if kind == "R" and body == b"\0\0\0\3":
            wire.send(password_message(password))
            kind, body = wire.read_until("E", "Z")[-1]
        assert kind == "E", kind
        assert sock.recv(1) == b"", "the connection ends with the error"
        return error_fields(body)


def test_log_tells_where_it_listens_and_when_it_is_ready(service):
    """The two lines that people and scripts look for in the Auth Proxy's log (cloudsql.md 6)."""
    assert service.listening() == [(NAME, f"127.0.0.1:{service.port}")]
    assert len(service.find("The proxy has started successfully and is ready for new connections!")) == 1


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_iam_user_needs_no_password(service, sslmode):
    assert psql(service, ROLE, "select current_user, 6 * 7", sslmode=sslmode) == (0, f"{ROLE}|42", "")


def test_iam_user_is_let_in_with_any_password(service):
    assert psql(service, ROLE, "select current_user", password="whatever")[1] == ROLE


def test_iam_login_used_both_tokens(service, emulator):
    psql(service, ROLE, "select 1")
    assert sorted(request["details"]["scopes"] for request in emulator.requests("metadata.token")) == \
        [[ADMIN_SCOPE], [LOGIN_SCOPE]]
    assert emulator.requests("generateEphemeralCert")[0]["details"]["has_access_token"] is True
    logins = [login for login in emulator.logins() if login["user"] == ROLE]
    assert {(login["kind"], login["principal"]) for login in logins} == {("iam", PRINCIPAL)}


def test_password_user(service):
    assert psql(service, "alice", "select current_user", password="secret") == (0, "alice", "")
    assert psql(service, "alice", "select current_user", password="secret") == (0, "alice", "")  # from what is kept


def test_drivers_of_python_and_libpq_see_the_same(service):
    module = peers.module("psycopg2", "python3-psycopg2")
    connection = module.connect(host="localhost", port=service.port, user="alice", password="secret",
                                dbname="postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute("select current_user, %s::int", (7,))
            assert cursor.fetchone() == ("alice", 7)
    finally:
        connection.close()


def test_wrong_password_is_answered_with_the_words_of_postgresql(service, postgres):
    """Before and after the right one has been seen; character by character what the database itself says."""
    with pytest.raises(psycopg2.OperationalError) as direct:
        psycopg2.connect(host="127.0.0.1", port=postgres.port, user="alice", password="wrong", dbname="postgres")
    words = str(direct.value).strip().split("FATAL:")[1].strip()
    assert words == 'password authentication failed for user "alice"'
    for _ in range(2):
        fields = refusal_on_the_wire(service.port, "alice", "postgres", "wrong")
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "28P01", words)
        code, out, err = psql(service, "alice", "select 1", password="wrong")
        assert (code, out) == (2, "")
        assert words in err
        assert psql(service, "alice", "select 1", password="secret")[1] == "1"


def test_no_password_is_asked_for(service):
    code, _, err = psql(service, "alice", "select 1")
    assert code == 2
    assert "no password supplied" in err  # libpq's own: it was asked and had none


@pytest.mark.parametrize("user", ["alice", ROLE])
def test_unknown_database(service, user):
    fields = refusal_on_the_wire(service.port, user, "nowhere", "secret")
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "3D000", 'database "nowhere" does not exist')
    code, _, err = psql(service, user, "select 1", password="secret", dbname="nowhere")
    assert code == 2
    assert 'database "nowhere" does not exist' in err


def test_unknown_user_looks_like_a_wrong_password(service):
    fields = refusal_on_the_wire(service.port, "mallory", "postgres", "secret")
    assert (fields["C"], fields["M"]) == ("28P01", 'password authentication failed for user "mallory"')


def test_connections_one_after_the_other_share_servers(service, emulator, postgres):
    psql(service, ROLE, "select 1")
    before = emulator.count("login")
    for number in range(20):
        assert psql(service, ROLE, f"select {number}")[1] == str(number)
    assert emulator.count("login") == before
    assert postgres.sql("select count(*) from pg_stat_activity where usename = %s", (ROLE,))[0][0] <= 10


def test_ends_with_sigterm_and_leaves_no_server(service, postgres):
    """Last: it ends the program."""
    assert service.stop() == 143
    eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename in ('alice', %s)",
                                    (ROLE,)) == [(0,)], "PostgreSQL has no session of ours left")
