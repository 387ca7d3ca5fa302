"""tests/e2e/test_reload.py -- what a reload changes at once, for new connections only, and the exit code of the end."""
import os
import shutil
import signal
import socket
import ssl

import psycopg2
import pytest

from lib.certificates import authority
from lib.pooler import Pooler
from lib.postgres import Postgres
from lib.raw import rewrite
from lib.waiting import eventually
from lib.wire import SSL_REQUEST, error_fields, password, query, startup
from test_auth_rules import Service

TEXT = """
[server]
client_login_timeout = "LOGIN"
[pool]
mode = "MODE"
size = SIZE
query_wait_timeout = "WAIT"
idle_transaction_timeout = "IDLE"
startup_parameters = { application_name = "PARAMETER" }
[[upstream]]
name = "main"
hosts = ["{pg}"]
listen = ["127.0.0.1:{port}"]
tls = { mode = "disable" }
"""
VALUES = {"LOGIN": "60s", "MODE": "transaction", "SIZE": "1", "WAIT": "60s", "IDLE": "0", "PARAMETER": "before"}


def text(**changed):
    out = TEXT
    for name, value in {**VALUES, **changed}.items():
        out = out.replace(name, value)
    return out


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("app", "secret")
        yield server


def answer(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def autocommit(service):
    connection = service.connect("port", "app")
    connection.autocommit = True
    return connection


def test_limits_of_time_hold_for_those_who_wait_already(postgres):
    """Nothing happens to these clients but the reload."""
    with Service(postgres, text(), ("port",)) as service:
        silent, idle = service.wire("port"), service.wire("port")
        idle.send(startup(user="app", database="postgres") + password("secret") + query("begin"))
        idle.read_until("Z")
        assert idle.read_until("Z")[-1] == ("Z", b"T")
        service.reload(text(IDLE="50ms", LOGIN="50ms"))
        for wire, limit in ((silent, "client_login_timeout"), (idle, "idle_transaction_timeout")):
            kind, body = wire.read()
            assert kind == "E" and limit in error_fields(body)["M"]
            with pytest.raises(EOFError):
                wire.read()


def test_the_size_of_a_pool_grows_for_those_who_wait(postgres):
    with Service(postgres, text(), ("port",)) as service:
        holds, waits = service.connect("port", "app"), service.connect("port", "app")
        holds_pid = answer(holds, "select pg_backend_pid()")
        service.reload(text(SIZE="2"))
        assert answer(waits, "select pg_backend_pid()") != holds_pid
        holds.close()
        waits.close()


def test_a_session_keeps_the_mode_it_began_with(postgres):
    """Its server has state that nobody has kept a record of: it may not be shared all of a sudden."""
    with Service(postgres, text(MODE="session"), ("port",)) as service:
        old = autocommit(service)
        pid = answer(old, "select pg_backend_pid()")
        answer(old, "select set_config('app.secret', 'mine', false)")
        service.reload(text(WAIT="200ms"))
        assert answer(old, "select pg_backend_pid()") == pid
        new = autocommit(service)  # let in from what is kept; the only server is the other's
        with pytest.raises(psycopg2.Error) as refused:
            answer(new, "select current_setting('app.secret', true)")
        assert "query_wait_timeout" in str(refused.value)
        assert answer(old, "select current_setting('app.secret', true)") == "mine"
        old.close()
        eventually(lambda: answer(new, "select 1") == 1, "the server is free")
        assert answer(new, "select coalesce(current_setting('app.secret', true), '')") == ""
        second = autocommit(service)  # transaction mode: both use the one server by turns
        assert answer(second, "select pg_backend_pid()") == answer(new, "select pg_backend_pid()")


def test_a_wrong_file_changes_nothing(postgres):
    with Service(postgres, text(), ("port",)) as service:
        mark = service.process.mark()
        service.write(text(SIZE="none"))
        service.process.send_signal(signal.SIGHUP)
        service.process.wait_line(r"was not reloaded, the running one stays", after=mark)
        connection = autocommit(service)
        assert answer(connection, "select 1") == 1
        connection.close()


@pytest.mark.parametrize("args, code", [((), 143), (("--exit-zero-on-sigterm",), 0)])
def test_exit_code_after_sigterm(postgres, args, code):
    with Service(postgres, text(), ("port",), args) as service:
        assert service.process.stop() == code


def shown_certificate(pooler):
    """What a listener with TLS shows to a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", pooler.port), timeout=30) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with context.wrap_socket(sock) as tls:
            return tls.getpeercert(binary_form=True)


def loaded(pooler):
    return pooler.total("sidepool_config_last_reload_successful")


def test_a_renewed_certificate_is_used_without_a_signal(postgres):
    with authority("old", "new") as folder:
        for kind in ("pem", "key"):
            shutil.copy(f"{folder}/old.{kind}", f"{folder}/used.{kind}")
        listen_tls = {"mode": "allow", "cert_file": f"{folder}/used.pem", "key_file": f"{folder}/used.key"}
        with Pooler(postgres, tables={"upstream.listen_tls": listen_tls}, dbname="postgres") as pooler:
            old = shown_certificate(pooler)
            before = pooler.connect(sslmode="require")
            # The two files are not replaced at one moment: half of them is an error, and the old ones stay.
            os.replace(f"{folder}/new.pem", f"{folder}/used.pem")
            pooler.process.wait_line("TLS settings stay as they were")
            eventually(lambda: loaded(pooler) == 0, "the metric tells")
            assert shown_certificate(pooler) == old
            os.replace(f"{folder}/new.key", f"{folder}/used.key")
            eventually(lambda: shown_certificate(pooler) != old, "the new certificate is shown")
            eventually(lambda: loaded(pooler) == 1, "the metric tells")
            assert answer(before, "select 1") == 1
            before.close()


def test_a_renewed_certificate_is_used_beside_a_wrong_file(postgres):
    with authority("old", "new") as folder:
        listen_tls = {"mode": "allow", "cert_file": f"{folder}/old.pem", "key_file": f"{folder}/old.key"}
        with Pooler(postgres, tables={"upstream.listen_tls": listen_tls}, dbname="postgres") as pooler:
            old = shown_certificate(pooler)
            rewrite(pooler, "nonsense")
            pooler.process.wait_line("was not reloaded, the running one stays")
            os.replace(f"{folder}/new.key", f"{folder}/old.key")
            os.replace(f"{folder}/new.pem", f"{folder}/old.pem")
            eventually(lambda: shown_certificate(pooler) != old, "the new certificate is shown")
