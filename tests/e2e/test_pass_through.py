"""tests/e2e/test_pass_through.py -- pool.mode = "none" in front of a PostgreSQL with TLS: whose channel is bound?"""
import contextlib
import os
import pwd
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import psycopg2
import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres, unprivileged_user
from lib.process import user_group
from lib.waiting import eventually


@pytest.fixture(scope="module")
def certificates():
    """(key, certificate) of the database, whose user can read them, and of sidepool's listener."""
    folder = tempfile.mkdtemp(prefix="sp-tls-")
    os.chmod(folder, 0o755)

    def make(name):
        key, cert = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
        os.chmod(key, 0o600)
        return key, cert

    database, listener = make("database"), make("listener")
    if user := unprivileged_user():
        os.chown(database[0], pwd.getpwnam(user).pw_uid, user_group(user))
    yield database, listener
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres(certificates):
    (key, cert), _ = certificates
    hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    with Postgres(settings={"ssl": "on", "ssl_cert_file": cert, "ssl_key_file": key}, hba=hba) as server:
        yield application_database(server)


def pass_through(postgres, key, cert):
    tables = {"upstream.tls": {"mode": "require"},
              "upstream.listen_tls": {"mode": "allow", "cert_file": cert, "key_file": key}}
    return Pooler(postgres, {"mode": "none"}, tables=tables)


@pytest.fixture(scope="module")
def pooler(postgres, certificates):
    with pass_through(postgres, *certificates[1]) as running:
        yield running


def value(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def works(pooler, **login):
    connection = pooler.connect(**login)
    try:
        return value(connection, "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    finally:
        connection.close()


def refusal(pooler, **login):
    with pytest.raises(psycopg2.OperationalError) as error:
        pooler.connect(**login)
    return str(error.value)


def test_the_database_itself_offers_channel_binding(postgres):
    """Without this the tests below would prove nothing."""
    connection = psycopg2.connect(host="127.0.0.1", port=postgres.port, user="app", password="secret", dbname="app",
                                  sslmode="require", channel_binding="require")
    connection.close()


def test_a_plain_client_is_not_offered_what_it_must_refuse(pooler):
    w, kind, body = raw.ask(pooler)
    assert (kind, body) == ("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
    w.sock.close()
    assert works(pooler, sslmode="disable") is True
    assert "password authentication failed" in refusal(pooler, sslmode="disable", password="wrong")


def test_psql_connects(pooler):
    done = subprocess.run(["psql", "-X", "-A", "-t", "-c", "select 42"], capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "PGSSLMODE": "disable", **pooler.environment})
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_a_client_inside_tls_cannot_bind_and_is_told_so(pooler):
    assert works(pooler, sslmode="require", channel_binding="disable") is True
    told = refusal(pooler, sslmode="require")
    assert "channel binding is not possible through sidepool" in told and "channel_binding=disable" in told
    assert "channel binding" in refusal(pooler, sslmode="require", channel_binding="require")
    assert "password authentication failed" in refusal(pooler, sslmode="require", channel_binding="disable",
                                                       password="wrong")


def test_with_the_database_s_own_certificate_the_channel_is_bound(postgres, certificates):
    with pass_through(postgres, *certificates[0]) as running:
        assert works(running, sslmode="require", channel_binding="require") is True
        assert works(running, sslmode="require") is True
        assert works(running, sslmode="disable") is True


def test_the_first_answer_may_come_in_pieces(pooler):
    """Byte by byte, also the one that says "y"."""
    import socket
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for flag, expected in (("n", "R"), ("y", "E")):
        sock = socket.create_connection(("127.0.0.1", pooler.port), timeout=30)
        sock.sendall(wire.SSL_REQUEST)
        assert sock.recv(1) == b"S"
        w = wire.Wire(context.wrap_socket(sock))
        w.send(wire.startup(user="app", database="app"))
        assert w.read() == ("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
        first = f"{flag},,n=,r=abcdefghijklmnop".encode()
        message = wire.message("p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
        for at in range(len(message)):
            w.send(message[at:at + 1])
        kind, body = w.read()
        assert kind == expected, body
        w.sock.close()


def test_transaction_pooling_in_front_of_the_same_database(postgres):
    """There sidepool logs in itself, and binds nothing either."""
    with Pooler(postgres, {}, tables={"upstream.tls": {"mode": "require"}}) as running:
        assert works(running) is True


@pytest.mark.parametrize("mode, minor", [("none", 0), ("transaction", 2)])
def test_a_client_of_the_future_is_told_once_what_it_gets(postgres, mode, minor):
    """PostgreSQL 15 speaks 3.0 and knows no option; libpq ends a connection that tells it twice."""
    with Pooler(postgres, {"mode": mode}, tables={"upstream.tls": {"mode": "require"}}) as pooler:
        for version, options in ((0x00030063, {"_pq_.future": "1"}), (0x00030002, {"_pq_.future": "1"}),
                                 (0x00030063, {})):
            w = raw.dial(pooler)
            w.send(wire.startup(version=version, user="app", database="app", **options))
            told, asked = w.read(), w.read()
            names = b"".join(name.encode() + b"\0" for name in options)
            assert told == ("v", struct.pack("!ii", 0x00030000 | minor, len(options)) + names)
            assert asked[0] == "R"
            w.sock.close()


class SlowDatabase:
    """Lets everybody in, over TLS, and reads on only when it is told to. `address`; `received` in bytes at the end."""

    def __init__(self, key, cert):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.read_on = threading.Event()
        self.received = None
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.read_on.set()
        self._listener.close()

    def _serve(self):
        connection, _ = self._listener.accept()
        assert connection.recv(8) == wire.SSL_REQUEST
        connection.sendall(b"S")
        with self._context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)  # the startup packet
            tls.sendall(wire.message("R", bytes(4)) + wire.message("K", struct.pack("!ii", 1, 2)) + wire.message("Z", b"I"))
            self.read_on.wait()
            received = 0
            while data := tls.recv(65536):
                received += len(data)
            self.received = received

    def queued(self):
        """Bytes on their way that the kernel of the sender holds."""
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[2].endswith(f":{self.port:04X}") and fields[3] == "01":
                    return int(fields[4].split(":")[0], 16)
        return 0


@pytest.mark.parametrize("turn", range(4))  # where the kernel stops within a message is open
def test_the_last_message_of_a_client_that_leaves_reaches_a_slow_server(certificates, turn):
    """Its record may be sealed and wait for the socket when the client's end is seen."""
    with SlowDatabase(*certificates[0]) as database:
        upstream = {"hosts": [database.address]}
        tables = {"upstream.tls": {"mode": "require"}}
        with Pooler(None, {"mode": "none"}, upstream=upstream, tables=tables) as pooler:
            w = raw.dial(pooler)
            w.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            w.send(wire.startup(user="app", database="app"))
            w.read_until("Z")
            one = wire.query("select '" + "x" * (8000 + turn) + "'")
            w.send(one * 60)  # more than the database's kernel takes
            sent = len(one * 60)
            eventually(lambda: database.queued() > len(one * 40), "the rest waits")
            while True:  # until one no longer gets through
                before = database.queued()
                w.send(one)
                sent += len(one)
                try:
                    eventually(lambda: database.queued() - before >= len(one), "it is on its way", timeout=0.3)
                except AssertionError:
                    break
            w.sock.close()
            with contextlib.suppress(AssertionError):  # it is there until the database has taken everything
                eventually(lambda: pooler.total("sidepool_clients_connected") == 0, "its end is seen", timeout=0.5)
            database.read_on.set()
            eventually(lambda: database.received is not None, "the database has seen the end")
            assert database.received == sent
