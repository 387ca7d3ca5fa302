"""tests/e2e/test_auth.py -- who is let in, with what, and what a failed or abandoned login costs (product.md §4)."""
import concurrent.futures
import socket
import ssl
import subprocess

import psycopg2
import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually

HBA = """local all all trust
host all trusting 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""
PASSWORD_REQUEST = ("R", b"\0\0\0\3")


@pytest.fixture(scope="module")
def postgres():
    with Postgres(hba=HBA) as server:
        application_database(server)
        server.create_role("trusting")
        server.create_role("clear", "secret")
        server.sql("set password_encryption = 'md5'; create role old login password 'secret'")
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "server.key", folder / "server.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return str(key), str(cert)


def network_address():
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def value(connection, text="select 1"):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def slots(pooler):
    """Everything that counts in the bound: it is asked of the broker."""
    return pooler.total("sidepool_servers")


def refused(pooler, **login):
    with pytest.raises(psycopg2.OperationalError) as error:
        pooler.connect(**login)
    return str(error.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_logins_that_are_left_half_way_cost_nothing(postgres, workers):
    """psql leaves at the password prompt each time; a bound of two must not be used up by that."""
    with Pooler(postgres, {"size": 2, "max_server_connections": 2}, {"workers": workers}) as pooler:
        for _ in range(12):
            w, *answer = raw.ask(pooler)
            assert tuple(answer) == PASSWORD_REQUEST
            w.sock.close()
        for _ in range(3):
            w, *answer = raw.ask(pooler)
            w.send(wire.query("not a password"))
            errors = [wire.error_fields(body)["C"] for kind, body in raw.ends(w) if kind == "E"]
            assert errors == ["08P01"]
        for _ in range(3):
            w, *answer = raw.ask(pooler)
            w.send(wire.message("X"))
            assert raw.ends(w) == []
        first = pooler.connect()
        assert value(first) == 1
        second = pooler.connect()
        assert value(second) == 1, "both servers can be had"
        first.close()
        second.close()


def test_a_storm_of_wrong_passwords_takes_no_server_away(postgres):
    with Pooler(postgres, {"size": 2}) as pooler:
        good = pooler.connect()
        good.autocommit = True
        assert value(good) == 1

        def wrong(n):
            return "password authentication failed" in refused(pooler, password=f"wrong{n}")
        with concurrent.futures.ThreadPoolExecutor(20) as threads:
            storm = threads.map(wrong, range(60))
            assert value(good, "select 2") == 2
            assert all(storm)
        eventually(lambda: slots(pooler) <= 2, "the slots of the trials are free")
        assert value(good, "select 3") == 3
        good.close()
        assert pooler.process.running()
        assert "wrong1" not in pooler.process.output() and "secret" not in pooler.process.output()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_never_types_its_password_holds_up_nobody(postgres, workers):
    """Nor do strangers who use up the logins that may be in flight, or the bound."""
    with Pooler(postgres, {"size": 2, "max_server_connections": 2}, {"workers": workers}) as pooler:
        silent, *answer = raw.ask(pooler)
        assert tuple(answer) == PASSWORD_REQUEST
        strangers = [raw.ask(pooler, user=f"nobody{n}") for n in range(6)]
        c = pooler.connect(connect_timeout=10)
        assert value(c) == 1
        # Its answer is as good as ever, and here it needs no login of its own.
        silent.send(wire.password("secret"))
        assert silent.read() == ("R", b"\0\0\0\0")
        for w, *answer in strangers:
            assert tuple(answer) == PASSWORD_REQUEST
            w.send(wire.password("x"))
            assert [wire.error_fields(body)["C"] for kind, body in raw.ends(w) if kind == "E"] == ["28P01"]
        c.close()
        silent.sock.close()
        eventually(lambda: slots(pooler) <= 1, "the slots are free")


def test_password_changed_in_the_database(postgres):
    postgres.create_role("rotating", "one")
    with Pooler(postgres, {"size": 2}, user="rotating", password="one", dbname="postgres") as pooler:
        a = pooler.connect()
        a.autocommit = True
        assert value(a) == 1
        postgres.sql("alter role rotating password 'two'")
        b = pooler.connect(password="two")  # unknown here: asked of the database, not refused
        assert value(b) == 1
        postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rotating'")
        eventually(lambda: slots(pooler) == 0, "sidepool has seen it")
        assert value(a) == 1, "new servers are opened with the new password"
        for c in (a, b):
            c.close()


def test_old_password_waits_for_a_login_that_brings_the_new_one(postgres):
    postgres.create_role("waiting", "one")
    with Pooler(postgres, {"size": 1, "query_wait_timeout": "60s"}, user="waiting", password="one",
                dbname="postgres") as pooler:
        a = pooler.connect()
        a.autocommit = True
        assert value(a) == 1
        postgres.sql("alter role waiting password 'two'")
        postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'waiting'")
        eventually(lambda: slots(pooler) == 0, "sidepool has seen it")
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            answer = thread.submit(value, a, "select 7")
            eventually(lambda: pooler.total("sidepool_server_login_failures_total") >= 1, "the kept key was refused")
            assert not answer.done()
            b = pooler.connect(password="two")
            assert answer.result(30) == 7
        a.close()
        b.close()


def test_the_same_password_set_again(postgres):
    """It has another salt then, and what is kept does not fit: the next login brings what does."""
    postgres.create_role("again", "one")
    with Pooler(postgres, {"size": 1}, user="again", password="one", dbname="postgres") as pooler:
        a = pooler.connect()
        a.autocommit = True
        assert value(a) == 1
        postgres.sql("alter role again password 'one'")
        postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'again'")
        eventually(lambda: slots(pooler) == 0, "sidepool has seen it")
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            answer = thread.submit(value, a, "select 7")
            eventually(lambda: pooler.total("sidepool_server_login_failures_total") >= 1, "the kept key was refused")
            b = pooler.connect()
            assert answer.result(30) == 7
        a.close()
        b.close()


def test_fresh_login_after_auth_ttl(postgres):
    postgres.create_role("ageing", "one")
    with Pooler(postgres, {"size": 2, "auth_ttl": "1s"}, user="ageing", password="one", dbname="postgres") as pooler:
        a = pooler.connect()
        assert value(a) == 1
        a.close()
        postgres.sql("alter role ageing password 'two'")
        eventually(lambda: "password authentication failed" in refused_or_let_in(pooler), "the old one expires")
        b = pooler.connect(password="two")
        assert value(b) == 1
        b.close()


def refused_or_let_in(pooler):
    try:
        pooler.connect().close()
        return ""
    except psycopg2.OperationalError as error:
        return str(error)


@pytest.mark.parametrize("user", ["clear", "old", "trusting"])
def test_methods_of_the_database(postgres, user):
    with Pooler(postgres, {"size": 2}, user=user, dbname="postgres") as pooler:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            def work(_):
                c = pooler.connect()
                got = value(c, "select current_user")
                c.close()
                return got
            assert set(threads.map(work, range(8))) == {user}
        if user != "trusting":
            assert "password authentication failed" in refused(pooler, password="wrong")


def test_errors_of_the_database_reach_the_client(postgres):
    with Pooler(postgres) as pooler:
        assert 'database "nowhere" does not exist' in refused(pooler, dbname="nowhere")
        w, kind, _ = raw.ask(pooler, user="nobody_here")
        assert kind == "R"  # PostgreSQL does not tell that a role is unknown, nor do we
        w.send(wire.password("x"))
        fields = [wire.error_fields(body) for kind, body in raw.ends(w) if kind == "E"]
        assert [f["C"] for f in fields] == ["28P01"]
        assert slots(pooler) == 0, "no pool without a login"


def test_unreachable_database(postgres):
    with Pooler(postgres, {}, {}, {"hosts": ["127.0.0.1:1"]}) as pooler:
        w, kind, body = raw.ask(pooler)
        fields = wire.error_fields(body)
        assert kind == "E" and fields["C"] == "08001" and fields["S"] == "FATAL" and "H" in fields
        assert fields["M"] == "cannot connect to the database: it refuses connections", "and no address"
        pooler.process.wait_line(r"cannot connect to 127\.0\.0\.1:1")  # the log has it
        assert raw.ends(w) == []


def test_limits_have_names(postgres):
    with Pooler(postgres, {}, {"max_client_conn": 3, "max_pools": 1, "client_login_timeout": "1s"}) as pooler:
        a = pooler.connect()
        assert value(a) == 1
        error = refused(pooler, dbname="postgres")
        assert "max_pools" in error
        silent = raw.dial(pooler)
        fields = [wire.error_fields(body) for kind, body in raw.ends(silent) if kind == "E"]
        assert "client_login_timeout" in fields[0]["M"]
        asked, *_ = raw.ask(pooler)
        fields = [wire.error_fields(body) for kind, body in raw.ends(asked) if kind == "E"]
        assert "client_login_timeout" in fields[0]["M"], "also at the password"
        others = [pooler.connect(), pooler.connect()]
        error = refused(pooler)
        assert "max_client_conn" in error
        for c in (a, *others):
            c.close()
        eventually(lambda: raw.login(pooler), "there is room again")


def test_a_pool_that_nobody_uses_makes_room(postgres):
    with Pooler(postgres, {"server_idle_timeout": "1s"}, {"max_pools": 1}) as pooler:
        a = pooler.connect()
        a.autocommit = True
        assert value(a) == 1
        assert "max_pools" in refused(pooler, dbname="postgres"), "it has a client"
        eventually(lambda: slots(pooler) == 0, "its server was idle too long")
        assert "max_pools" in refused(pooler, dbname="postgres"), "it still has a client"
        assert value(a) == 1
        a.close()
        eventually(lambda: slots(pooler) == 0, "its server was idle too long")
        other = pooler.connect(dbname="postgres")
        other.autocommit = True
        assert value(other) == 1
        assert pooler.total("sidepool_servers", 'database="postgres"') == 1
        assert not any('database="app"' in name for name in pooler.metrics("sidepool_servers"))
        other.close()
        eventually(lambda: slots(pooler) == 0, "its server was idle too long")
        assert value(pooler.connect()) == 1, "and back again"


def test_before_login_sixteen_kilobytes_at_most(postgres):
    with Pooler(postgres) as pooler:
        w = raw.dial(pooler)
        w.send(b"\0\1\0\0\0\3\0\0" + b"x" * 65528)
        assert [kind for kind, _ in raw.ends(w)] in ([], ["E"])
        w, kind, _ = raw.ask(pooler)
        assert kind == "R"
        w.send(wire.message("p", b"x" * 20000))
        assert [kind for kind, _ in raw.ends(w)] in ([], ["E"])
        assert value(pooler.connect()) == 1


def test_trust_on_the_network_is_warned_of(postgres):
    for address, warned in ((network_address(), True), ("127.0.0.1", False)):
        with Pooler(postgres, {}, {}, {"listen": [f"{address}:0"], "client_auth": "trust"}) as pooler:
            pooler.process.wait_line("ready for new connections")
            assert ("let in without a password" in pooler.process.output()) == warned


def test_listener_on_the_network(postgres):
    address = network_address()
    listen = {"listen": [f"{address}:0"]}
    # A password is never asked in clear there: the client's own login is relayed, on a server of its own.
    with Pooler(postgres, {"size": 3}, {}, listen) as pooler:
        port = int(pooler.process.listening()[0][1].rsplit(":", 1)[1])
        c = pooler.connect(host=address, port=port)
        pid = value(c, "select pg_backend_pid()")
        assert value(c, "select pg_backend_pid()") == pid
        d = pooler.connect(host=address, port=port)
        assert value(d, "select pg_backend_pid()") != pid
        with pytest.raises(psycopg2.OperationalError) as error:
            pooler.connect(host=address, port=port, password="wrong")
        assert "password authentication failed" in str(error.value)
        with pytest.raises(psycopg2.OperationalError) as error:
            pooler.connect(host=address, port=port, user="trusting", dbname="postgres")
        assert "without a password" in str(error.value)
        c.cancel()  # nothing runs: nothing happens
        c.close()
        d.close()
        eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0] == 0,
                   "they closed with their clients")
        e = pooler.connect(host=address, port=port)
        assert value(e) == 1
        e.close()
    with Pooler(postgres, {"size": 3}, {}, {**listen, "allow_remote": True}) as pooler:
        port = int(pooler.process.listening()[0][1].rsplit(":", 1)[1])
        c = pooler.connect(host=address, port=port, user="trusting", dbname="postgres")
        assert value(c, "select current_user") == "trusting"
        c.close()


def test_replication_passes_through(postgres):
    from psycopg2.extras import LogicalReplicationConnection
    postgres.sql("alter role app replication")
    with Pooler(postgres) as pooler:
        c = pooler.connect(connection_factory=LogicalReplicationConnection)
        cursor = c.cursor()
        cursor.execute("IDENTIFY_SYSTEM")
        assert cursor.fetchone()[3] == "app"
        c.close()


def test_mode_none_is_bounded_and_cancels(postgres):
    with Pooler(postgres, {"mode": "none", "size": 2}) as pooler:
        a, b = pooler.connect(), pooler.connect()
        assert value(a) == value(b) == 1
        w = raw.dial(pooler)
        w.send(wire.startup(user="app", database="app"))  # waits for a slot
        eventually(lambda: pooler.total("sidepool_clients_connected") in (0, 3), "it is there")
        w.sock.close()
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            running = thread.submit(value, a, "select pg_sleep(60)")
            eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where state = 'active' and "
                                            "query = 'select pg_sleep(60)'")[0][0] == 1, "it runs")
            a.cancel()
            with pytest.raises(psycopg2.errors.QueryCanceled):
                running.result(30)
        b.close()
        c = pooler.connect()
        assert value(c) == 1, "the place of the one that left is not taken, b's is free"
        a.close()
        c.close()


def test_tls_listener(postgres, certificate):
    key, cert = certificate
    text = f'listen_tls = {{ mode = "require", cert_file = "{cert}", key_file = "{key}" }}'
    with TlsPooler(postgres, text) as pooler:
        c = pooler.connect(sslmode="verify-ca", sslrootcert=cert)
        assert value(c) == 1
        c.close()
        assert "encrypted connections only" in refused(pooler, sslmode="disable")
        direct = ssl.create_default_context(cafile=cert)
        direct.check_hostname = False
        direct.set_alpn_protocols(["postgresql"])
        sock = direct.wrap_socket(socket.create_connection(("127.0.0.1", pooler.port), timeout=30))
        w = wire.Wire(sock)
        w.send(wire.startup(user="app", database="app"))
        assert w.read() == PASSWORD_REQUEST
        sock.close()
        # Plain bytes behind the request for encryption are refused (CVE-2021-23214).
        w = raw.dial(pooler)
        w.send(wire.SSL_REQUEST + wire.startup(user="app", database="app"))
        assert w.sock.recv(1) != b"S" or w.sock.recv(100) == b""
        # A handshake that is left in the middle.
        w = raw.dial(pooler)
        w.send(wire.SSL_REQUEST)
        assert w.exactly(1) == b"S"
        w.send(b"\x16\x03\x01\x02\x00\x01")
        w.sock.close()
        assert value(pooler.connect(sslmode="require")) == 1


class TlsPooler(Pooler):
    """An inline table cannot be written by `toml_table`."""

    def __init__(self, postgres, line):
        import lib.pooler as module
        original = module.toml_table

        def with_tls(name, values):
            text = original(name, values)
            return text.rstrip("\n") + f"\n{line}\n\n" if name == "[[upstream]]" else text
        module.toml_table = with_tls
        try:
            super().__init__(postgres)
        finally:
            module.toml_table = original


def test_wrong_cancel_keys_do_nothing_and_right_ones_are_not_delayed(postgres):
    with Pooler(postgres, {"size": 1}, {"workers": 2}) as pooler:
        w, pid, key = raw.login(pooler)
        w.send(wire.query("select pg_sleep(60)"))
        eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where state = 'active' and "
                                        "query = 'select pg_sleep(60)'")[0][0] == 1, "it runs")
        guesses = []
        for n in range(100):
            g = raw.dial(pooler)
            g.send(wire.cancel_request(pid, n.to_bytes(4, "big")))
            guesses.append(g)
        for wrong_pid in (pid ^ 1, pid ^ (1 << 20), pid & 0xFFFFF, 0x7FFFFFFF):
            g = raw.dial(pooler)
            g.send(wire.cancel_request(wrong_pid, key))
            guesses.append(g)
        right = raw.dial(pooler)
        right.send(wire.cancel_request(pid, key))
        assert right.sock.recv(1) == b"", "stays open until the cancel has been delivered, and ends"
        errors = [wire.error_fields(body)["C"] for kind, body in w.read_until("Z") if kind == "E"]
        assert errors == ["57014"]
        for g in guesses:
            assert g.sock.recv(1) == b"", "nothing is ever answered"
        assert pooler.total("sidepool_cancels_total") == 1


@pytest.mark.parametrize("stored, typed", [
    ("re\u0301sume\u0301", "r\u00e9sum\u00e9"), ("a\u00a0b", "a\u00a0b"), ("pass\u00adword", "password"),
    ("\uff21bc", "\uff21bc"), ("\u0627\u0031", "\u0627\u0031"), ("caf\U0001f600", "caf\U0001f600")])
def test_passwords_beyond_ascii_mean_what_they_mean_to_postgresql(postgres, stored, typed):
    """Through libpq on both ways: what logs in directly logs in here (SASLprep, RFC 4013)."""
    role = "prepared" + "".join(f"{ord(c):x}" for c in stored + typed)[:50]
    postgres.create_role(role, stored)
    with Pooler(postgres, user=role, password=typed) as pooler:
        direct = {**pooler.login, "port": postgres.port}
        psycopg2.connect(**direct).close()
        pooler.connect().close()


@pytest.mark.parametrize("setting", ["is_superuser=on", "server_version=9", "in_hot_standby=on", "integer_datetimes=off",
                                     "session_authorization=trusting"])
def test_options_that_nobody_may_set_are_refused_by_postgresql(postgres, setting):
    def refusal(port):
        with pytest.raises(psycopg2.OperationalError) as error:
            psycopg2.connect(host="127.0.0.1", port=port, user="app", password="secret", dbname="app",
                             options=f"-c {setting}")
        return str(error.value).strip().split("FATAL:")[-1]

    with Pooler(postgres) as pooler:
        pooler.connect().close()
        assert refusal(pooler.port) == refusal(postgres.port)


@pytest.mark.parametrize("mode", ["transaction", "session", "none"])
def test_ignored_startup_parameters(postgres, mode):
    ignored = {"ignore_startup_parameters": ["options", "application_name"]}
    with Pooler(postgres, {"mode": mode, "size": 2, **ignored}) as running:
        connection = running.connect(options="-c work_mem=2MB -x", application_name="mine")
        with connection.cursor() as cursor:
            cursor.execute("select current_setting('work_mem'), current_setting('application_name')")
            assert cursor.fetchone() == ("4MB", "")
        connection.close()
