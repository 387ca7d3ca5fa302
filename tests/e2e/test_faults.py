"""tests/e2e/test_faults.py -- what clients see when servers, the database or other clients fail (product.md §6)."""
import concurrent.futures
import os
import signal
import socket
import threading

import psycopg2
import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture(params=[1, 3], ids=["one-worker", "three-workers"])
def pooler(postgres, request):
    with Pooler(postgres, {"size": 2}, {"workers": request.param}) as running:
        yield running
        eventually(lambda: running.total("sidepool_clients") == 0, "no client is left")
        eventually(lambda: running.total("sidepool_servers", 'state="active"') == 0, "no server is left in use")


def value(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def autocommit(pooler, **more):
    connection = pooler.connect(**more)
    connection.autocommit = True
    return connection


def activity(postgres, condition="true"):
    return postgres.sql(f"select count(*) from pg_stat_activity where usename = 'app' and {condition}")[0][0]


def in_thread(function):
    """Starts it; `.result()` waits."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001: the test looks at it
            future.set_exception(error)
    threading.Thread(target=run, daemon=True).start()
    return future


def test_idle_server_killed_is_noticed_by_nobody(postgres, pooler):
    a = autocommit(pooler)
    pid = value(a, "select pg_backend_pid()")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: activity(postgres, f"pid = {pid}") == 0, "the backend is gone")
    eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 0, "sidepool has seen it")
    assert value(a, "select pg_backend_pid()") != pid
    a.close()


def thread_states(pid):
    """As in proc(5), "T" for stopped."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as stat:
            yield stat.read().rsplit(")", 1)[1].split()[0]


def test_a_request_that_meets_a_dead_idle_server_goes_to_another(postgres, pooler):
    """Both lie unread when sidepool runs again, the request first."""
    w, _, _ = raw.login(pooler)
    backend = int(raw.rows(w, "select pg_backend_pid()")[0])
    eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 1, "its server is idle")
    os.kill(pooler.process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: set(thread_states(pooler.process.pid)) == {"T"}, "all its threads have stopped")
        w.send(wire.query("select pg_backend_pid()"))
        os.kill(backend, signal.SIGTERM)
        eventually(lambda: activity(postgres, f"pid = {backend}") == 0, "the backend is gone")
    finally:
        os.kill(pooler.process.pid, signal.SIGCONT)
    messages = w.read_until("Z")
    assert [wire.error_fields(body) for kind, body in messages if kind == "E"] == []
    w.sock.close()


def test_backend_killed_in_transaction_ends_that_client_only(postgres, pooler):
    a, b = pooler.connect(), autocommit(pooler)
    pid = value(a, "select pg_backend_pid()")
    postgres.sql("select pg_terminate_backend(%s)", (pid,))
    with pytest.raises(psycopg2.OperationalError):
        for _ in range(2):  # the first may still go out before the end is seen
            value(a, "select 1")
    assert value(b, "select 1") == 1
    a.close()
    b.close()


def test_backend_killed_while_it_runs_a_query(postgres, pooler):
    b = autocommit(pooler)
    w, _, _ = raw.login(pooler)
    w.send(wire.query("select pg_sleep(60)"))
    eventually(lambda: activity(postgres, "query = 'select pg_sleep(60)' and state = 'active'") == 1, "it runs")
    postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60)'")
    errors = [wire.error_fields(body) for kind, body in raw.ends(w) if kind == "E"]
    assert [e["M"] for e in errors] == ["terminating connection due to administrator command"]
    assert value(b, "select 1") == 1
    b.close()


def test_restart_of_the_database_is_only_a_delay_for_idle_clients(postgres, pooler):
    clients = [autocommit(pooler) for _ in range(6)]
    for c in clients:
        assert value(c, "select 1") == 1
    postgres.stop()
    eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 0, "the servers are gone")
    waiting = [in_thread(lambda c=c: value(c, "select 2")) for c in clients]
    eventually(lambda: pooler.total("sidepool_clients", 'state="waiting"') == 6, "they wait")
    postgres.start()
    assert [w.result(60) for w in waiting] == [2] * 6
    for c in clients:
        c.close()


def test_waiting_in_vain_tells_why_and_the_connection_stays(postgres):
    with Pooler(postgres, {"size": 1, "query_wait_timeout": "1s"}) as pooler:
        a, b = pooler.connect(), autocommit(pooler)
        assert value(a, "select 1") == 1  # keeps the only server
        with pytest.raises(psycopg2.Error) as error:
            value(b, "select 2")
        assert error.value.pgcode == "53300" and "query_wait_timeout" in str(error.value)
        a.commit()
        assert value(b, "select 3") == 3
        a.close()
        b.close()
        assert pooler.total("sidepool_errors_total", 'kind="query_wait_timeout"') == 1


def test_a_wait_is_told_and_a_waiting_client_that_leaves_frees_its_place(postgres):
    with Pooler(postgres, {"size": 1, "query_wait_notify": "100ms"}) as pooler:
        holder = pooler.connect()
        value(holder, "select 1")
        w, _, _ = raw.login(pooler)
        w.send(wire.query("select 'never'"))
        kind, body = w.read()
        assert kind == "N" and "no server connection is free" in wire.error_fields(body)["M"]
        w.sock.close()
        eventually(lambda: pooler.total("sidepool_clients", 'state="waiting"') == 0, "its place is free")
        holder.close()


def test_refused_extended_cycle_does_not_spin(postgres):
    """A client that has been refused and does not send its Sync costs nothing."""
    with Pooler(postgres, {"size": 1, "query_wait_timeout": "200ms"}) as pooler:
        holder = pooler.connect()
        value(holder, "select 1")
        w, _, _ = raw.login(pooler)
        w.send(wire.message("P", b"\0select 1\0\0\0") + wire.message("H"))
        kind, body = w.read()
        assert kind == "E" and wire.error_fields(body)["C"] == "53300"
        before = os.times(), cpu(pooler)
        eventually(lambda: os.times().elapsed - before[0].elapsed > 1, "a second has passed")
        assert cpu(pooler) - before[1] < 0.05
        w.send(wire.message("S"))
        assert w.read() == ("Z", b"I")
        holder.close()
        w.sock.close()


def cpu(pooler):
    """Seconds of processor time so far."""
    with open(f"/proc/{pooler.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_nothing_spins_when_everybody_is_idle(postgres, pooler):
    """Idle clients, one that never logs in, one that leaves half closed, one that does not read."""
    idle = [autocommit(pooler) for _ in range(4)]
    for c in idle:
        value(c, "select 1")
    silent = raw.dial(pooler)
    half, _, _ = raw.login(pooler)
    half.sock.shutdown(socket.SHUT_WR)
    deaf, _, _ = raw.login(pooler)
    deaf.send(wire.query("select repeat('x', 1000000) from generate_series(1, 50)"))
    eventually(lambda: activity(postgres, "wait_event = 'ClientWrite'") == 1, "the server waits for the slow client")
    before = os.times(), cpu(pooler)
    eventually(lambda: os.times().elapsed - before[0].elapsed > 1.5, "some time has passed")
    assert cpu(pooler) - before[1] < 0.1
    assert value(idle[0], "select 1") == 1, "a slow client stops its own server only"
    for c in (silent, half, deaf):
        c.sock.close()
    for c in idle:
        c.close()
    eventually(lambda: activity(postgres, "state = 'active'") == 0, "the slow client's query ends")


def test_a_hundred_clients_on_a_cold_pool(postgres, pooler):
    def work(n):
        with pooler.connect() as connection:
            return value(connection, f"select {n}")
    with concurrent.futures.ThreadPoolExecutor(100) as threads:
        assert sorted(threads.map(work, range(100))) == list(range(100))
    assert activity(postgres) <= 2
    assert pooler.total("sidepool_server_logins_total") <= 4


def test_client_leaves_in_a_transaction_and_its_server_is_used_again(postgres, pooler):
    postgres.sql("create table if not exists left_over(n int)", dbname="app")
    postgres.sql("grant all on left_over to app", dbname="app")
    for _ in range(20):
        c = pooler.connect()
        c.cursor().execute("insert into left_over values (1)")
        c.close()  # without commit
    check = autocommit(pooler)
    assert value(check, "select count(*) from left_over") == 0
    check.close()
    assert pooler.total("sidepool_server_logins_total") <= 2


def test_client_vanishes_while_its_query_runs_in_a_block(postgres, pooler):
    w, _, _ = raw.login(pooler)
    assert raw.rows(w, "begin") == []
    w.send(wire.query("select pg_sleep(60)"))
    eventually(lambda: activity(postgres, "query = 'select pg_sleep(60)' and state = 'active'") == 1, "it runs")
    w.sock.close()
    eventually(lambda: activity(postgres, "state <> 'idle'") == 0, "it is cancelled and rolled back")


def test_statement_of_a_client_that_left_at_once_is_carried_out(postgres, pooler):
    postgres.sql("drop table if exists fire; create table fire(n int); grant all on fire to app", dbname="app")
    w, _, _ = raw.login(pooler)
    w.send(wire.query("insert into fire select 1 from pg_sleep(0.3)") + wire.message("X"))
    w.sock.close()
    eventually(lambda: postgres.sql("select count(*) from fire", dbname="app")[0][0] == 1, "the row is there")


SLOW_INSERT = "insert into fire select 1 from pg_sleep(0.3)"
RUN = wire.message("B", bytes(8)) + wire.message("E", bytes(5)) + wire.message("S")


@pytest.mark.parametrize("messages", [
    wire.query(SLOW_INSERT), wire.message("P", b"\0" + SLOW_INSERT.encode() + bytes(3)) + RUN,
    wire.query("select 7") + wire.query(SLOW_INSERT),
], ids=["query", "extended", "behind rows"])
def test_rows_of_something_else_cancel_no_statement(postgres, messages):
    """Those of our clean-up, or of a request before it: what a client that has left wanted last is carried out."""
    postgres.sql("drop table if exists fire; create table fire(n int); grant all on fire to app", dbname="app")
    with Pooler(postgres, {"size": 1}) as one:
        w, _, _ = raw.login(one)
        other, _, _ = raw.login(one)
        for count in (1, 2, 3):
            assert raw.rows(other, "select 1") == ["1"], "the server is not clean"
            w.send(messages + wire.message("X"))
            w.sock.close()
            eventually(lambda: postgres.sql("select count(*) from fire", dbname="app")[0][0] == count, "the row is there")
            w, _, _ = raw.login(one)


def test_rows_without_end_are_stopped_though_another_request_follows(postgres):
    with Pooler(postgres, {"size": 1}) as one:
        w, _, _ = raw.login(one)
        w.send(wire.query("select repeat('x', 1000), generate_series(1, 1000000000)") + wire.query("select 1"))
        w.sock.close()
        assert raw.rows(raw.login(one)[0], "select 1") == ["1"]


def test_half_a_message_closes_the_server(postgres, pooler):
    w, _, _ = raw.login(pooler)
    assert raw.rows(w, "begin") == []
    pid = raw.rows(w, "select pg_backend_pid()")[0]
    w.send(wire.query("insert into nowhere values (1)" + " " * 60000)[:50000])  # too long to be kept
    w.sock.close()
    eventually(lambda: activity(postgres, f"pid = {pid}") == 0, "that server is closed")
    eventually(lambda: pooler.total("sidepool_servers", 'state="closing"') == 0, "and its slot is free")


@pytest.mark.parametrize("garbage", [b"\xff" * 64, wire.message("Q", b"x" * 10)[:3], b"Q\0\0\0\1", b"p\0\0\0\4",
                                     wire.message("P", b"\0")])
def test_malformed_bytes_end_that_client_only(postgres, pooler, garbage):
    other = autocommit(pooler)
    w, _, _ = raw.login(pooler)
    w.send(garbage)
    w.sock.shutdown(socket.SHUT_WR)
    messages = raw.ends(w)
    errors = [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"]
    assert all(code == "08P01" for code in errors)
    assert value(other, "select 1") == 1
    other.close()


def test_out_of_descriptors_refuses_new_work_only(postgres):
    with Pooler(postgres, {"size": 2}) as pooler:
        a = autocommit(pooler)
        assert value(a, "select 1") == 1
        used = len(os.listdir(f"/proc/{pooler.process.pid}/fd"))
        limit(pooler.process.pid, used + 8)
        crowd = []
        refused = 0
        for _ in range(40):
            w = raw.dial(pooler)
            crowd.append(w)
            w.sock.settimeout(5)
            try:
                w.send(wire.startup(user="app", database="app"))
                kind, body = w.read()
                if kind == "E":
                    assert wire.error_fields(body)["C"] == "53300"
                    assert "file descriptors" in wire.error_fields(body)["M"]
                    refused += 1
                    break
            except (EOFError, ConnectionResetError, TimeoutError):
                break
        assert refused == 1
        assert value(a, "select 1") == 1, "what runs goes on"
        for w in crowd:
            w.sock.close()
        limit(pooler.process.pid, 4096)
        eventually(lambda: raw.login(pooler), "clients are let in again")
        a.close()


def limit(pid, files):
    import resource
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def test_frozen_backend_holds_its_slot_until_server_close_timeout(postgres):
    with Pooler(postgres, {"size": 1, "server_close_timeout": "2s"}) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pid = int(raw.rows(w, "select pg_backend_pid()")[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            w.send(wire.query("select 1" + " " * 60000)[:50000])  # half a message: the server has to be closed
            w.sock.close()
            eventually(lambda: pooler.total("sidepool_servers", 'state="closing"') == 1, "it is being closed")
            b = in_thread(lambda: value(autocommit(pooler), "select pg_backend_pid()"))
            assert b.result(30) != pid
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: activity(postgres, f"pid = {pid}") == 0, "the backend ends")


def test_timeouts(postgres):
    pool = {"size": 2, "idle_transaction_timeout": "300ms", "query_timeout": "600ms", "client_idle_timeout": "2s"}
    with Pooler(postgres, pool) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        kind, body = w.read()
        assert kind == "E" and wire.error_fields(body)["C"] == "25P03"
        assert raw.ends(w) == []
        w, _, _ = raw.login(pooler)
        w.send(wire.query("select pg_sleep(60)"))
        messages = raw.ends(w)
        assert [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"] == ["57014"]
        eventually(lambda: activity(postgres, "state <> 'idle'") == 0, "the query is cancelled, block or not")
        w, _, _ = raw.login(pooler)
        messages = raw.ends(w)
        assert [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"] == ["57P05"]


def test_transaction_timeout_counts_each_transaction_of_a_pinned_client(postgres):
    with Pooler(postgres, {"size": 1, "mode": "session", "transaction_timeout": "600ms"}) as pooler:
        c = autocommit(pooler)
        for _ in range(4):  # each far below the limit, together above it
            assert value(c, "select 1 from pg_sleep(0.2)") == 1
        c.autocommit = False
        with pytest.raises(psycopg2.Error):
            value(c, "select 1")
            for _ in range(30):
                value(c, "select 1 from pg_sleep(0.1)")
        c.close()
