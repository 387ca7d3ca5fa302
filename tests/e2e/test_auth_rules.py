"""tests/e2e/test_auth_rules.py -- who is let in by whom: passwords, listeners, TLS, pass-through, trust, bounds."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

import psycopg2
import pytest

from lib.certificates import authority
from lib.ports import free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import DEADLINE, eventually
from lib.wire import SSL_REQUEST, Wire, cancel_request, error_fields, message, password, query, startup

HBA = """local all all trust
host all carol 127.0.0.1/32 trust
host replication carol 127.0.0.1/32 trust
host all bob 127.0.0.1/32 md5
host all dave 127.0.0.1/32 password
host all all 127.0.0.1/32 scram-sha-256
"""
NO_PASSWORD = "this listener may not use a login without a password"


@pytest.fixture(scope="module")
def postgres():
    with Postgres(hba=HBA) as server:
        for name in ("alice", "dave", "erin"):
            server.create_role(name, "secret")
        server.create_role("carol", options="login replication")
        server.sql("set password_encryption = 'md5'; create role bob login password 'secret'")
        yield server


@pytest.fixture(scope="module")
def certificates():
    """An authority, a listener's certificate and clients' of alice and of bob."""
    with authority("listener", "alice", "bob") as folder:
        yield folder


class Service:
    """sidepool with a configuration that can be written anew; `{pg}` and `{name}` of ports are filled in."""

    def __init__(self, postgres, text, ports=(), args=()):
        self.names = dict(zip(ports, free_ports(len(ports))))
        self.postgres = postgres
        self.folder = tempfile.mkdtemp(prefix="sp-auth-")
        self.path = os.path.join(self.folder, "sidepool.toml")
        try:
            self.write(text)
            self.process = Proxy(["--config", self.path, *args], name="sidepool")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def write(self, text):
        for name, value in {"pg": self.postgres.tcp, **self.names}.items():
            text = text.replace("{" + name + "}", str(value))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def reload(self, text):
        mark = self.process.mark()
        self.write(text)
        self.process.send_signal(signal.SIGHUP)
        self.process.wait_line(r"the configuration is loaded", after=mark)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, port, user, word="secret", **more):
        return psycopg2.connect(host="127.0.0.1", port=self.names[port], user=user, password=word, dbname="postgres",
                                connect_timeout=30, **{"sslmode": "disable", **more})

    def works(self, port, user, word="secret", **more):
        connection = self.connect(port, user, word, **more)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select current_user")
                return cursor.fetchone()[0] == user
        finally:
            connection.close()

    def refusal(self, port, user, word="secret", **more):
        with pytest.raises(psycopg2.OperationalError) as refused:
            self.connect(port, user, word, **more).close()
        return str(refused.value)

    def wire(self, port):
        return Wire(socket.create_connection(("127.0.0.1", self.names[port]), DEADLINE))

    def asked(self, port, user, **more):
        """The first answer to a startup packet: (authentication request or None, fields of an error or None)."""
        wire = self.wire(port)
        try:
            wire.send(startup(user=user, database="postgres", **more))
            kind, body = wire.read_until("R", "E")[-1]
            return (int.from_bytes(body[:4], "big"), None) if kind == "R" else (None, error_fields(body))
        finally:
            wire.sock.close()


OK, CLEARTEXT, SASL = 0, 3, 10
# "0.0.0.0" is an address of the network, whoever connects to it: the listener decides, not the client.
LISTENERS = """
[[upstream]]
name = "near"
hosts = ["{pg}"]
listen = ["127.0.0.1:{near}", "0.0.0.0:{far}"]
tls = { mode = "disable" }

[[upstream]]
name = "opened"
hosts = ["{pg}"]
listen = ["0.0.0.0:{opened}"]
allow_remote = true
tls = { mode = "disable" }

[[upstream]]
name = "passing"
hosts = ["{pg}"]
listen = ["0.0.0.0:{passing}", "127.0.0.1:{passing_near}"]
tls = { mode = "disable" }
[upstream.pool]
mode = "none"
"""
PORTS = ("near", "far", "opened", "passing", "passing_near")


@pytest.fixture(scope="module")
def service(postgres):
    with Service(postgres, LISTENERS, PORTS) as running:
        yield running


@pytest.mark.parametrize("user", ["alice", "bob", "dave"])
def test_the_database_decides_about_a_password(service, user):
    """SCRAM, md5, cleartext: before anything is kept, from what is kept, and for what differs from it."""
    for _ in range(2):
        assert f'password authentication failed for user "{user}"' in service.refusal("near", user, "wrong")
        assert service.works("near", user)
        assert service.works("near", user)
    assert service.asked("near", user)[0] == CLEARTEXT


def test_nobody_is_asked_where_the_database_asks_nobody(service):
    assert service.asked("near", "carol")[0] == OK
    assert service.works("near", "carol", "anything")


def test_the_listener_decides_about_logins_without_password(service):
    """With and without a pool there; on every path a client can choose."""
    for _ in range(2):
        for more in ({}, {"replication": "database"}, {"replication": "true"}):
            number, fields = service.asked("far", "carol", **more)
            assert number is None, f"{more} got in"
            assert (fields["C"], fields["M"]) == ("28000", NO_PASSWORD)
        assert service.works("near", "carol")
    assert service.asked("opened", "carol")[0] == OK
    number, fields = service.asked("passing", "carol")
    assert (number, fields["M"]) == (None, NO_PASSWORD)
    assert service.works("passing_near", "carol")


def test_over_the_network_the_password_is_not_asked_in_clear(service):
    """The client talks SCRAM with the database itself, and wrong passwords are wrong there too."""
    assert service.works("near", "alice")
    assert service.asked("far", "alice")[0] == SASL
    assert service.works("far", "alice")
    assert 'password authentication failed for user "alice"' in service.refusal("far", "alice", "wrong")
    assert service.works("passing", "alice")
    assert 'password authentication failed for user "alice"' in service.refusal("passing", "alice", "wrong")
    assert service.asked("opened", "alice")[0] == CLEARTEXT


def test_a_new_password_works_at_once(service, postgres):
    assert service.works("near", "erin")
    postgres.sql("alter role erin password 'changed'")
    try:
        assert service.works("near", "erin", "changed")
        assert 'password authentication failed for user "erin"' in service.refusal("near", "erin", "secret")
    finally:
        postgres.sql("alter role erin password 'secret'")


def test_what_comes_behind_the_startup_packet_is_kept_or_refused(service):
    """The password and a query in the same piece; and more than is ever held of a client not let in."""
    wire = service.wire("near")
    wire.send(startup(user="alice", database="postgres") + password("secret") + query("select 7"))
    seen = wire.read_until("D", "E")
    assert seen[-1][0] == "D" and seen[-1][1].endswith(b"7"), seen
    wire.sock.close()
    wire = service.wire("far")
    wire.send(startup(user="carol", database="postgres") + query("select 7"))
    assert wire.read_until("E", "D")[-1][0] == "E"
    wire.sock.close()
    wire = service.wire("near")
    try:
        wire.send(startup(user="alice", database="postgres") + message("p", b"x" * 40000 + b"\0"))
        kind, body = wire.read_until("E")[-1]
        assert error_fields(body)["C"] == "08P01"
    except (ConnectionResetError, BrokenPipeError):
        pass  # the refusal may be overtaken by the reset
    wire.sock.close()


def test_a_wrong_key_cancels_nothing_and_delays_no_right_one(service):
    connection = service.connect("near", "alice")
    pid = connection.get_backend_pid()
    with connection.cursor() as cursor:
        for n in range(30):
            wire = service.wire("near")
            wire.send(cancel_request(pid, n.to_bytes(4, "big")))
            wire.sock.close()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_an_old_word_of_the_database_is_asked_again(postgres):
    """auth_ttl: what was right is checked anew; a login without password ends when the database asks for one."""
    text = LISTENERS.replace('name = "near"', 'name = "near"\npool.auth_ttl = "1ms"')
    with Service(postgres, text, PORTS) as service:
        assert service.works("near", "erin")
        postgres.sql("alter role erin password 'changed'")
        try:
            assert 'password authentication failed' in service.refusal("near", "erin", "secret")
            assert service.works("near", "erin", "changed")
        finally:
            postgres.sql("alter role erin password 'secret'")
        assert service.works("near", "carol")
        hba = os.path.join(postgres.data, "pg_hba.conf")
        with open(hba, "w", encoding="ascii") as file:
            file.write(HBA.replace("carol 127.0.0.1/32 trust", "carol 127.0.0.1/32 scram-sha-256"))
        try:
            postgres.reload()
            eventually(lambda: postgres.sql("select count(*) from pg_hba_file_rules where auth_method = 'trust'")
                       == [(1,)], "the new rules are there")
            eventually(lambda: service.asked("near", "carol")[0] == CLEARTEXT, "carol is asked now")
            assert "password authentication failed" in service.refusal("near", "carol", "anything")
        finally:
            with open(hba, "w", encoding="ascii") as file:
                file.write(HBA)
            postgres.reload()


TRUST = """
[[upstream]]
name = "trusting"
hosts = ["{pg}"]
listen = ["127.0.0.1:{near}", "0.0.0.0:{far}"]
client_auth = "trust"
tls = { mode = "disable" }
[[user]]
name = "alice"
password = "secret"
"""
BOB = '[[user]]\nname = "bob"\npassword = "wrong"\n[[user]]\nname = "bob"\npassword = "secret"\nupstream = "trusting"\n'


def test_trust_is_for_the_users_of_the_configuration(postgres):
    with Service(postgres, TRUST + BOB, ("near", "far")) as service:
        for user in ("alice", "bob"):
            assert service.works("near", user, "anything")
            assert service.works("far", user, "anything")
        assert "no password is configured for this user" in service.refusal("near", "dave")
        for _ in range(2):  # where the database asks nobody the listener counts, also when a pool is there
            assert NO_PASSWORD in service.refusal("far", "carol")
            assert service.works("near", "carol")
        service.reload(TRUST)
        assert "no password is configured for this user" in service.refusal("near", "bob")
        assert service.works("near", "alice", "anything")


ENCRYPTED = """
[[upstream]]
name = "encrypted"
hosts = ["{pg}"]
listen = ["0.0.0.0:{tls}"]
tls = { mode = "disable" }
listen_tls = { mode = "MODE", cert_file = "DIR/SERVER.pem", key_file = "DIR/SERVER.key"CA }
"""


def encrypted(folder, mode, server="listener"):
    authority = f', ca_file = "{folder}/ca.pem"' if mode.startswith("verify") else ""
    return ENCRYPTED.replace("MODE", mode).replace("DIR", folder).replace("SERVER", server).replace("CA", authority)


def shown_certificate(service):
    """The common name that the listener shows."""
    with socket.create_connection(("127.0.0.1", service.names["tls"]), DEADLINE) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as inside:
            text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], check=True,
                                  input=inside.getpeercert(True), capture_output=True).stdout
            return text.decode().strip().rsplit("= ", 1)[-1]


def test_tls_carries_a_password_but_is_no_identity(postgres, certificates):
    with Service(postgres, encrypted(certificates, "require"), ("tls",)) as service:
        assert service.works("tls", "alice", sslmode="require")
        assert "password authentication failed" in service.refusal("tls", "alice", "wrong", sslmode="require")
        assert NO_PASSWORD in service.refusal("tls", "carol", sslmode="require")
        number, fields = service.asked("tls", "alice")
        assert (number, fields["C"]) == (None, "28000")
        assert "encrypted connections only" in fields["M"]


def test_direct_tls_needs_its_protocol_name(postgres, certificates):
    """Without ALPN the bytes may be another protocol's, sent by a browser."""
    with Service(postgres, encrypted(certificates, "require"), ("tls",)) as service:
        for names, served in ((["postgresql"], True), ([], False)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if names:
                context.set_alpn_protocols(names)
            with socket.create_connection(("127.0.0.1", service.names["tls"]), DEADLINE) as plain:
                with context.wrap_socket(plain) as inside:
                    answer = b""
                    try:
                        inside.sendall(startup(user="alice", database="postgres"))
                        answer = inside.recv(1)
                    except (ConnectionError, ssl.SSLError):
                        pass
                    assert answer == (b"R" if served else b"")


def test_the_clients_certificate_names_the_user(postgres, certificates):
    def shown(name):
        return {"sslmode": "require", "sslcert": f"{certificates}/{name}.pem", "sslkey": f"{certificates}/{name}.key"}

    with Service(postgres, encrypted(certificates, "verify-full"), ("tls",)) as service:
        assert service.works("tls", "alice", **shown("alice"))
        assert service.works("tls", "bob", **shown("bob"))
        assert 'certificate authentication failed for user "alice"' in service.refusal("tls", "alice", **shown("bob"))
        assert "password authentication failed" in service.refusal("tls", "alice", "wrong", **shown("alice"))
        service.refusal("tls", "alice", sslmode="require")  # none at all
        service.reload(encrypted(certificates, "verify-ca"))
        assert service.works("tls", "alice", **shown("bob"))
        service.refusal("tls", "alice", sslmode="require")
        service.reload(encrypted(certificates, "allow", "alice"))
        assert shown_certificate(service) == "alice"
        assert service.works("tls", "alice", sslmode="require")


def test_a_renewed_certificate_is_shown_after_a_reload(postgres, certificates):
    for kind in ("pem", "key"):
        shutil.copy(f"{certificates}/listener.{kind}", f"{certificates}/current.{kind}")
    with Service(postgres, encrypted(certificates, "require", "current"), ("tls",)) as service:
        assert shown_certificate(service) == "listener"
        for kind in ("pem", "key"):
            shutil.copy(f"{certificates}/bob.{kind}", f"{certificates}/current.{kind}")
        service.reload(encrypted(certificates, "require", "current"))
        assert shown_certificate(service) == "bob"


def test_silent_connections_are_bounded_and_told_why(postgres):
    """Those above the limit that say nothing: a hundred are listened to, the next are refused at once."""
    with Service(postgres, "[server]\nmax_client_conn = 5\n" + LISTENERS, PORTS) as service:
        silent = [service.wire("near") for _ in range(105)]
        eventually(lambda: service.wire("near").read()[0] == "E", "the next one is refused")
        kind, body = service.wire("near").read()
        fields = error_fields(body)
        assert (kind, fields["C"], fields["M"]) == ("E", "53300", "too many clients (max_client_conn)")
        silent[0].send(startup(user="carol", database="postgres"))
        kind, body = silent[0].read()
        assert (kind, error_fields(body)["C"]) == ("E", "53300")
        for wire in silent:
            wire.sock.close()
        eventually(lambda: service.asked("near", "carol")[0] == OK, "there is room again")
