"""tests/e2e/test_cancel_copy.py -- cancels hit the query they are meant for and nothing else; COPY ends where it ends."""
import concurrent.futures
import io
import os
import pty
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pytest

from lib.pooler import Pooler, application_database, libpq_environment
from lib.postgres import Postgres
from lib.waiting import eventually
from lib.wire import Wire, cancel_request, error_fields, message, password, query, startup

CANCELLED = "canceling statement due to user request"
LONG = "select pg_sleep(60)"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        application_database(server)
        connection = server.connect(user="app", dbname="app")
        connection.cursor().execute("create table item (id int primary key, name text check (name <> 'refused'))")
        connection.close()
        yield server


@pytest.fixture
def pooler(postgres):
    """Two servers, and a clean table."""
    postgres.sql("truncate item", dbname="app")
    with Pooler(postgres, {"size": 2}) as running:
        yield running


def active(postgres, text):
    """How many of our servers run a statement that begins so."""
    return postgres.sql("select count(*) from pg_stat_activity where usename = 'app' and state = 'active' and "
                        "query like %s", (text + "%",))[0][0]


def cancelled_by(postgres, connection, text, cancel, fetch=True):
    """Runs `text` on a psycopg2 connection in a thread, calls `cancel` when PostgreSQL runs it; the error."""
    def run():
        with connection.cursor() as cursor:
            with pytest.raises(psycopg2.errors.QueryCanceled) as error:
                cursor.execute(text)
            return error.value
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        future = thread.submit(run)
        eventually(lambda: active(postgres, text) == 1, "PostgreSQL runs it")
        cancel()
        return future.result(timeout=30)


@pytest.fixture
def crowd(postgres, request):
    """A Pooler that sends one cancel at a time, and eight clients whose queries run."""
    with Pooler(postgres, {"mode": getattr(request, "param", "transaction"), "size": 8, "max_cancels": 1}, {"workers": 2}) as running:
        clients = [running.connect(async_=True) for _ in range(8)]
        cursors = []  # without it what a connection runs is lost
        for client in clients:
            psycopg2.extras.wait_select(client)
            cursors.append(client.cursor())
            cursors[-1].execute("begin")  # outside of a block what a client has left is carried out to its end
            psycopg2.extras.wait_select(client)
            cursors[-1].execute(LONG)
        eventually(lambda: active(postgres, LONG) == 8, "PostgreSQL runs them")
        yield running, clients
        for client in clients:
            client.close()


def test_clients_that_die_together_leave_nothing_running(postgres, crowd):
    pooler, clients = crowd
    os.kill(pooler.process.pid, signal.SIGSTOP)
    for client in clients:
        socket.socket(fileno=os.dup(client.fileno())).shutdown(socket.SHUT_RDWR)
    os.kill(pooler.process.pid, signal.SIGCONT)
    eventually(lambda: active(postgres, LONG) == 0, "their queries have been cancelled")
    with pooler.connect() as connection:
        assert value(connection, "select 1") == 1


@pytest.mark.parametrize("crowd", ["transaction", "none"], indirect=True)
def test_every_cancel_request_is_carried_out(postgres, crowd):
    _, clients = crowd
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda client: client.cancel(), clients))
    for client in clients:
        with pytest.raises(psycopg2.errors.QueryCanceled):
            psycopg2.extras.wait_select(client)
    assert active(postgres, LONG) == 0


def value(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


# -- cancel


@pytest.mark.parametrize("autocommit", [True, False])
def test_cancel_of_a_running_query(pooler, postgres, autocommit):
    connection = pooler.connect()
    connection.autocommit = autocommit
    for _ in range(3):
        error = cancelled_by(postgres, connection, LONG, connection.cancel)
        assert (error.pgcode, error.diag.message_primary) == ("57014", CANCELLED)
        connection.rollback()
        assert value(connection, "select 'usable'") == "usable"
        connection.rollback()
    connection.close()
    assert eventually(lambda: active(postgres, LONG) == 0, "nothing runs any more")


def test_cancel_while_rows_are_coming(pooler):
    connection = pooler.connect()
    cursor = connection.cursor()
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        while True:  # whenever the cancel arrives, rows are on their way
            cursor.execute("select count(n) from (select n, repeat('x', 100) from generate_series(1, 3000000) n) s")
    timer.join()
    connection.rollback()
    assert value(connection, "select 1") == 1
    connection.close()


def test_cancel_of_nothing_does_nothing(pooler):
    connection = pooler.connect()
    for number in range(20):
        assert value(connection, f"select {number}") == number
        connection.commit()
        connection.cancel()
        assert value(connection, f"select {number}") == number
        connection.commit()
    connection.close()


def test_ctrl_c_in_psql(pooler, postgres):
    """A real terminal, a real Ctrl-C; the next statement on the same connection is answered."""
    master, slave = pty.openpty()
    child = subprocess.Popen(["/usr/lib/postgresql/15/bin/psql", "-X", "-At"], stdin=slave, stdout=slave, stderr=slave,
                             env={**libpq_environment(pooler.login), "PATH": os.environ["PATH"], "TERM": "dumb",
                                  "PAGER": "cat"}, start_new_session=True,
                             preexec_fn=lambda: __import__("fcntl").ioctl(slave, __import__("termios").TIOCSCTTY, 0))
    os.close(slave)
    seen = []

    def read():
        try:
            while data := os.read(master, 4096):
                seen.append(data.decode("utf-8", "replace"))
        except OSError:
            pass
    reader = threading.Thread(target=read)
    reader.start()
    try:
        os.write(master, b"select pg_sleep(60);\n")
        eventually(lambda: active(postgres, LONG) == 1, "PostgreSQL runs it")
        os.write(master, b"\x03")
        eventually(lambda: CANCELLED in "".join(seen), "psql tells that it was cancelled")
        os.write(master, b"select 'still ' || 'there';\n")
        eventually(lambda: "still there" in "".join(seen), "the next answer")
        os.write(master, b"\\q\n")
        assert child.wait(30) == 0
    finally:
        os.killpg(child.pid, signal.SIGKILL) if child.poll() is None else None
        child.wait()
        reader.join()
        os.close(master)


def test_cancel_while_waiting_for_a_server(pooler, postgres):
    """Both servers are taken: the waiting request is answered as PostgreSQL answers a cancel, without a server."""
    holders = [pooler.connect() for _ in range(2)]
    for holder in holders:
        value(holder, "select 1")  # opens a transaction
    waiting = pooler.connect()
    waiting.autocommit = True

    def run():
        with pytest.raises(psycopg2.errors.QueryCanceled) as error:
            waiting.cursor().execute("select 'never run'")
        return error.value
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        future = thread.submit(run)
        eventually(lambda: pooler.total("sidepool_clients", 'state="waiting"') == 1, "it waits")
        waiting.cancel()
        assert future.result(timeout=30).diag.message_primary == CANCELLED
    assert active(postgres, "select 'never run'") == 0
    for holder in holders:
        holder.rollback()
        holder.close()
    assert value(waiting, "select 'served'") == "served"
    waiting.close()


class Raw:
    """A client by hand that knows its cancel key."""

    def __init__(self, pooler):
        self.pooler = pooler
        self.sock = socket.create_connection(("127.0.0.1", pooler.port), timeout=60)
        self.wire = Wire(self.sock)
        self.wire.send(startup(user="app", database="app"))
        assert self.wire.read() == ("R", b"\0\0\0\3")
        self.wire.send(password("secret"))
        keys = [body for kind, body in self.wire.read_until("Z") if kind == "K"]
        self.pid, self.secret = struct.unpack("!i", keys[0][:4])[0], keys[0][4:]

    def query(self, text):
        """(rows' first columns, SQLSTATE or None)"""
        self.wire.send(query(text))
        rows, state = [], None
        for kind, body in self.wire.read_until("Z"):
            if kind == "D":
                rows.append(body[6:].decode())
            if kind == "E":
                state = error_fields(body)["C"]
        return rows, state

    def cancel(self, secret=None):
        """Returns when the other side has closed: PostgreSQL's libpq waits for that too."""
        with socket.create_connection(("127.0.0.1", self.pooler.port), timeout=60) as sock:
            sock.sendall(cancel_request(self.pid, secret or self.secret))
            assert sock.recv(1) == b""

    def close(self):
        self.sock.close()


def test_cancel_with_a_wrong_key_is_ignored(pooler, postgres):
    victim = Raw(pooler)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        future = thread.submit(victim.query, LONG)
        eventually(lambda: active(postgres, LONG) == 1, "PostgreSQL runs it")
        for bit in range(8):
            victim.cancel(bytes([victim.secret[0] ^ (1 << bit)]) + victim.secret[1:])
        assert active(postgres, LONG) == 1
        assert not future.done()
        victim.cancel()
        assert future.result(timeout=30) == ([], "57014")
    victim.close()


def test_the_key_of_a_client_that_left_is_worth_nothing(pooler, postgres):
    gone = Raw(pooler)
    assert gone.query("select 1")[1] is None
    gone.close()
    other = Raw(pooler)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        future = thread.submit(other.query, "select pg_sleep(1)")
        eventually(lambda: active(postgres, "select pg_sleep(1)") == 1, "PostgreSQL runs it")
        for _ in range(5):
            gone.cancel()
        assert future.result(timeout=30)[1] is None
    other.close()


@pytest.mark.deadline(120)
def test_a_cancel_never_hits_another_client(pooler):
    """Victims cancel their own queries at random moments, on two servers that change hands all the time; bystanders run the
    same kind of queries on them and must never be cancelled."""
    stop = time.monotonic() + 8
    counts = {"cancelled": 0, "finished": 0, "bystander": 0}
    lock = threading.Lock()

    def goes_on():
        """For 8 s, and on a slow machine until each has happened often enough."""
        return time.monotonic() < stop or (min(counts.values()) <= 10 and time.monotonic() < stop + 60)

    def victim(seed):
        generator = random.Random(seed)
        client = Raw(pooler)
        while goes_on():
            canceller = threading.Timer(generator.random() * 0.02, client.cancel)
            canceller.start()
            rows, state = client.query(f"select '{seed}' from pg_sleep(0.01)")
            canceller.join()
            assert rows in ([], [str(seed)]) and state in (None, "57014"), (rows, state)
            assert rows or state, "neither row nor error"
            with lock:
                counts["finished" if state is None else "cancelled"] += 1
            # A late cancel may hit this one: it is the same client's.
            rows, state = client.query(f"select 'second {seed}'")
            assert rows in ([], [f"second {seed}"]) and state in (None, "57014"), (rows, state)
        client.close()

    def bystander(seed):
        client = Raw(pooler)
        number = 0
        while goes_on():
            number += 1
            assert client.query(f"select '{seed} {number}' from pg_sleep(0.003)") == ([f"{seed} {number}"], None)
            with lock:
                counts["bystander"] += 1
        client.close()

    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        work = [threads.submit(victim, seed) for seed in range(6)] + [threads.submit(bystander, seed) for seed in range(100, 106)]
        for future in work:
            future.result()
    assert min(counts.values()) > 10, counts


# -- COPY


def count(connection):
    number = value(connection, "select count(*) from item")
    connection.commit()
    return number


def test_copy_in_and_out(pooler):
    connection = pooler.connect()
    cursor = connection.cursor()
    text = "".join(f"{n}\tname {n}\n" for n in range(20000))
    for turn in range(3):
        cursor.copy_expert("copy item from stdin", io.StringIO(text))
        assert cursor.rowcount == 20000
        out = io.StringIO()
        cursor.copy_expert("copy (select * from item order by id) to stdout", out)
        assert out.getvalue() == text
        connection.rollback() if turn < 2 else connection.commit()
    assert count(connection) == 20000
    connection.close()


@pytest.mark.parametrize("text, state", [
    ("1\ta\nno number\tb\n" + "3\tc\n" * 5000, "22P02"),
    ("1\ta\n1\tagain\n", "23505"),
    ("1\ta\n2\trefused\n" + "".join(f"{n}\tx\n" for n in range(3, 50000)), "23514"),
    ("1\ta\tone too many\n", "22P04"),
])
def test_copy_in_that_postgresql_refuses_in_the_middle(pooler, text, state):
    """The driver goes on sending rows that PostgreSQL throws away; afterwards the connection is in step."""
    connection = pooler.connect()
    for _ in range(3):
        with pytest.raises(psycopg2.Error) as error:
            connection.cursor().copy_expert("copy item from stdin", io.StringIO(text))
        assert error.value.pgcode == state
        connection.rollback()
        assert count(connection) == 0
    connection.cursor().copy_expert("copy item from stdin", io.StringIO("1\tfine\n"))
    connection.commit()
    assert count(connection) == 1
    connection.close()


def test_copy_in_that_the_client_ends_with_an_error(pooler):
    class Broken(io.StringIO):
        def read(self, size=-1):
            data = super().read(100)
            if not data:
                raise OSError("disk gone")
            return data
    connection = pooler.connect()
    with pytest.raises(psycopg2.Error) as error:
        connection.cursor().copy_expert("copy item from stdin", Broken("".join(f"{n}\tx\n" for n in range(200))))
    assert "disk gone" in str(error.value)
    connection.rollback()
    assert count(connection) == 0
    connection.close()


def test_copy_out_that_fails_in_the_middle(pooler):
    connection = pooler.connect()
    for _ in range(3):
        out = io.StringIO()
        with pytest.raises(psycopg2.errors.DivisionByZero):
            connection.cursor().copy_expert("copy (select 1 / (5000 - n) from generate_series(1, 9999) n) to stdout", out)
        connection.rollback()
        assert value(connection, "select 'in step'") == "in step"
        connection.rollback()
    connection.close()


def test_cancel_in_the_middle_of_a_copy(pooler):
    """The driver cancels and goes on giving rows for a while, as libpq does; PostgreSQL throws them away."""
    connection = pooler.connect()

    class Rows(io.StringIO):
        number = 0

        def read(self, size=-1):
            self.number += 1
            if self.number == 200:
                connection.cancel()
            return f"{self.number}\t{'x' * 1000}\n" if self.number < 5000 else ""
    with pytest.raises(psycopg2.errors.QueryCanceled):
        connection.cursor().copy_expert("copy item from stdin", Rows())
    connection.rollback()
    assert count(connection) == 0
    connection.close()


def test_client_that_leaves_in_the_middle_of_a_copy(pooler, postgres):
    """Its COPY is undone, its server is fit for the next."""
    for autocommit in (False, True):
        client = Raw(pooler)
        if not autocommit:
            client.query("begin")
        client.wire.send(query("copy item from stdin"))
        client.wire.read_until("G")
        client.wire.send(message("d", b"1\tlost\n"))
        client.close()
        eventually(lambda: active(postgres, "copy item") == 0, "its COPY has ended")
    survivor = pooler.connect()
    for _ in range(4):
        assert count(survivor) == 0
    survivor.close()


def statement(name, text):
    return message("P", name + b"\0" + text.encode() + b"\0\0\0")


BIND = message("B", b"\0\0\0\0\0\0\0\0")
EXECUTE = message("E", b"\0\0\0\0\0")
SYNC = message("S")
COPY_DONE = message("c")


def kinds(messages):
    return "".join(kind for kind, _ in messages if kind not in "SN")


@pytest.fixture(params=["direct", "pooled"])
def raw(request, pooler, postgres):
    """The same bytes directly (over the trusted socket) and through sidepool: what comes back must be the same."""
    if request.param == "pooled":
        client = Raw(pooler)
    else:
        client = Raw.__new__(Raw)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(f"{postgres.socket_dir}/.s.PGSQL.{postgres.port}")
        client.sock.settimeout(60)
        client.wire = Wire(client.sock)
        client.wire.login(user="app", database="app")
    yield client
    client.close()


def test_copy_in_by_the_extended_protocol(raw):
    """As JDBC and pgx do: Sync comes after CopyDone, or before it as old drivers had it."""
    wire = raw.wire
    for number in range(3):
        wire.send(statement(b"", "copy item from stdin") + BIND + EXECUTE + SYNC)
        assert kinds(wire.read_until("G")) == "12G"
        wire.send(message("d", b"%d\tone\n" % number) + COPY_DONE + SYNC)
        assert kinds(wire.read_until("Z")) == "CZ"
        assert raw.query("select count(*) from item") == ([str(number + 1)], None)


def test_copy_in_by_the_extended_protocol_with_an_error(raw):
    wire = raw.wire
    for _ in range(3):
        wire.send(statement(b"", "copy item from stdin") + BIND + EXECUTE + message("H"))
        assert kinds(wire.read_until("G")) == "12G"
        wire.send(message("d", b"no number\tone\n") + message("d", b"5\tlate\n") + COPY_DONE + SYNC)
        messages = wire.read_until("Z")
        assert kinds(messages) == "EZ"
        assert error_fields(messages[0][1])["C"] == "22P02"
        assert raw.query("select count(*) from item") == (["0"], None)


def test_copy_fail_by_the_extended_protocol(raw):
    wire = raw.wire
    wire.send(statement(b"named", "copy item from stdin") + message("B", b"\0named\0\0\0\0\0\0\0") + EXECUTE + message("H"))
    assert kinds(wire.read_until("G")) == "12G"
    wire.send(message("d", b"1\ta\n") + message("f", b"changed my mind\0") + SYNC)
    messages = wire.read_until("Z")
    assert kinds(messages) == "EZ"
    assert error_fields(messages[0][1])["M"] == "COPY from stdin failed: changed my mind"
    wire.send(message("B", b"\0named\0\0\0\0\0\0\0") + EXECUTE + message("H"))
    assert kinds(wire.read_until("G")) == "2G"
    wire.send(message("d", b"1\ta\n") + COPY_DONE + SYNC)
    assert kinds(wire.read_until("Z")) == "CZ"
    assert raw.query("select count(*) from item") == (["1"], None)


def test_copy_out_by_the_extended_protocol(raw):
    wire = raw.wire
    wire.send(statement(b"", "copy (select n from generate_series(1, 3) n) to stdout") + BIND + EXECUTE + SYNC)
    assert kinds(wire.read_until("Z")) == "12HdddcCZ"
    wire.send(statement(b"", "copy (select 1 / (2 - n) from generate_series(1, 3) n) to stdout") + BIND + EXECUTE + SYNC)
    assert kinds(wire.read_until("Z")) == "12HdEZ"
    assert raw.query("select 'in step'") == (["in step"], None)


def test_several_copies_in_one_query(raw):
    wire = raw.wire
    wire.send(query("copy item from stdin; copy item to stdout; select 7"))
    assert kinds(wire.read_until("G")) == "G"
    wire.send(message("d", b"1\ta\n2\tb\n") + COPY_DONE)
    assert kinds(wire.read_until("Z")) == "CHddcCTDCZ"
    wire.send(COPY_DONE + message("d", b"late") + message("f", b"\0"))  # outside of COPY: ignored
    assert raw.query("select count(*) from item") == (["2"], None)
