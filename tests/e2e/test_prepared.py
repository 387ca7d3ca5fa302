"""tests/e2e/test_prepared.py -- prepared statements on a real PostgreSQL: SQL that sees their names, plans that change,
long messages of clients that have no server."""
import struct

import psycopg2
import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres

SYNC = wire.message("S")
FLUSH = wire.message("H")
VIEW = "select name || ':' || statement from pg_prepared_statements order by 1"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture(name="pooler")
def make_pooler(postgres):
    with Pooler(postgres, {"size": 2}) as running:
        yield running


@pytest.fixture(name="idle_clients", scope="module")
def make_idle_clients(postgres):
    with Pooler(postgres, {"size": 2}) as running:
        yield running


def parse(name, text):
    return wire.message("P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(name, portal=""):
    return wire.message("B", f"{portal}\0{name}\0".encode() + b"\0\0\0\0\0\0")


EXECUTE = wire.message("E", b"\0\0\0\0\0")
DESCRIBE = wire.message("D", b"P\0")


def answer(w, data):
    """The types of the replies up to the first ReadyForQuery, with the SQLSTATE of errors."""
    w.send(data)
    return [kind + (wire.error_fields(body)["C"] if kind == "E" else "") for kind, body in w.read_until("Z")]


def test_the_view_shows_this_clients_statements_only(pooler):
    a, b = raw.login(pooler)[0], raw.login(pooler)[0]
    for w in (a, b):
        assert answer(w, parse("mine", "select 'secret of " + ("a'" if w is a else "b'")) + SYNC) == ["1", "Z"]
        assert answer(w, bind("mine") + EXECUTE + SYNC) == ["2", "D", "C", "Z"]
    assert raw.rows(a, VIEW) == ["mine:select 'secret of a'"]
    assert raw.rows(a, "execute mine") == ["secret of a"]
    assert raw.rows(b, VIEW) == ["mine:select 'secret of b'"]
    assert pooler.total("sidepool_pins_total", 'reason="own_names"') == 2
    for w in (a, b):
        assert raw.rows(w, "discard all") == []
    assert raw.rows(raw.login(pooler)[0], VIEW) == []


def test_names_are_shared_by_sql_and_protocol(pooler):
    w = raw.login(pooler)[0]
    assert answer(w, parse("p", "select 1") + SYNC) == ["1", "Z"]
    assert answer(w, wire.query("prepare p as select 2")) == ["E42P05", "Z"]
    assert raw.rows(w, "prepare q (int) as select $1 + 1") == []
    assert raw.rows(w, "execute q (41)") == ["42"]
    assert answer(w, parse("q", "select 1") + SYNC) == ["E42P05", "Z"]
    assert raw.rows(w, "explain (costs off) execute p") == ["Result"]
    assert raw.rows(w, "create temp table made as execute p") == []
    assert raw.rows(w, "deallocate p; select 5") == ["5"]
    assert answer(w, bind("p") + EXECUTE + SYNC) == ["E26000", "Z"]


def test_psycopg2_executes_what_it_has_prepared(pooler):
    with pooler.connect() as connection, connection.cursor() as cursor:
        cursor.execute("prepare plan as select $1::int * 2")
        connection.commit()
        for i in range(5):
            cursor.execute("execute plan (%s)", (i,))
            assert cursor.fetchone() == (2 * i,)
            connection.commit()
    connection.close()


def test_a_changed_plan(pooler, postgres):
    postgres.sql("create table if not exists shape (a int)", dbname="app")
    postgres.sql("grant select on shape to app", dbname="app")
    postgres.sql("insert into shape values (1)", dbname="app")
    columns = iter("bcdefg")
    w = raw.login(pooler)[0]
    assert answer(w, parse("s", "select * from shape") + SYNC) == ["1", "Z"]

    def change():
        postgres.sql(f"alter table shape add column {next(columns)} int", dbname="app")

    assert answer(w, bind("s") + EXECUTE + SYNC) == ["2", "D", "C", "Z"]
    change()
    assert answer(w, bind("s") + EXECUTE + SYNC) == ["2", "D", "C", "Z"], "it has no description"
    assert answer(w, bind("s") + DESCRIBE + EXECUTE + SYNC) == ["2", "T", "D", "C", "Z"]
    change()
    assert answer(w, bind("s") + DESCRIBE + EXECUTE + SYNC) == ["2", "T", "D", "C", "Z"], "it asks for one"
    change()
    assert answer(w, bind("s") + EXECUTE + SYNC) == ["E0A000", "Z"], "its description is of before"
    assert answer(w, bind("s") + EXECUTE + SYNC) == ["E0A000", "Z"]
    assert answer(w, bind("s") + DESCRIBE + EXECUTE + SYNC) == ["2", "T", "D", "C", "Z"]
    assert raw.rows(w, "begin") == []
    change()
    assert answer(w, bind("s") + DESCRIBE + EXECUTE + SYNC) == ["E0A000", "Z"], "inside a block"
    assert raw.rows(w, "rollback") == []


def test_a_changed_plan_and_psycopg2(pooler, postgres):
    postgres.sql("create table if not exists wide (a int)", dbname="app")
    postgres.sql("grant select on wide to app", dbname="app")
    connection = pooler.connect()
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("select * from wide")
    postgres.sql("alter table wide add column b int", dbname="app")
    cursor.execute("select * from wide")
    assert [c.name for c in cursor.description] == ["a", "b"]
    connection.close()


def run(w, name):
    """The values of the first column that a prepared statement returns."""
    w.send(bind(name) + EXECUTE + SYNC)
    replies = w.read_until("Z")
    assert "E" not in [kind for kind, _ in replies], replies
    return [body[6:].decode() for kind, body in replies if kind == "D"]


def test_names_mean_what_they_do_at_the_clients_own_parse(pooler, postgres):
    postgres.sql("create schema if not exists app authorization app; create table spot (v text); "
                 "insert into spot values ('public'); grant select on spot to app", dbname="app")
    early, late = raw.login(pooler)[0], raw.login(pooler)[0]
    text = "select v from spot"
    assert answer(early, parse("s", text) + SYNC) == ["1", "Z"]
    assert run(early, "s") == ["public"]
    postgres.sql("create table app.spot as select 'of the user'::text as v; alter table app.spot owner to app", dbname="app")
    assert answer(late, parse("s", text) + SYNC) == ["1", "Z"]
    assert run(late, "s") == ["of the user"]
    postgres.sql("drop table app.spot", dbname="app")
    assert run(late, "s") == ["public"]


def test_a_statement_for_a_temporary_table_leaves_the_other_one_alone(pooler, postgres):
    postgres.sql("create table kept as select 'permanent' as v; grant select, delete on kept to app", dbname="app")
    w, other = raw.login(pooler)[0], raw.login(pooler)[0]
    raw.rows(w, "create temp table scratch (x int)")
    assert answer(w, parse("early", "delete from kept") + SYNC) == ["1", "Z"]
    raw.rows(w, "create temp table kept as select * from public.kept")
    assert answer(w, parse("late", "delete from kept") + bind("late") + EXECUTE + SYNC) == ["1", "2", "C", "Z"]
    assert postgres.sql("select v from kept", dbname="app") == [("permanent",)]
    raw.rows(w, "discard all")
    text = "select v from kept"
    assert answer(other, parse("s", text) + SYNC) == ["1", "Z"]
    raw.rows(w, "begin")
    raw.rows(w, "create temp table kept on commit drop as select 'temporary' as v")
    assert answer(w, parse("s", text) + SYNC) == ["1", "Z"]
    assert run(w, "s") == ["temporary"]
    assert run(other, "s") == ["permanent"]
    raw.rows(w, "commit")


def told(w, name):
    """The types of a statement's parameters."""
    w.send(wire.message("D", b"S" + name.encode() + b"\0") + SYNC)
    return [struct.unpack(f"!{len(body) // 4}i", body[2:]) for kind, body in w.read_until("Z") if kind == "t"][0]


def test_nobody_reads_rows_by_an_old_description(pooler, postgres):
    postgres.sql("create table slim as select 1 as a; grant select on slim to app", dbname="app")
    a, b, c = (raw.login(pooler)[0] for _ in range(3))
    assert answer(a, parse("s", "select * from slim") + SYNC) == ["1", "Z"]
    told(a, "s")
    raw.rows(c, "begin")  # holds the server that has it
    assert answer(a, bind("s") + EXECUTE + SYNC) == ["2", "D", "C", "Z"]
    postgres.sql("alter table slim add column b text default 'new'", dbname="app")
    assert answer(b, parse("s", "select * from slim") + bind("s") + EXECUTE + SYNC) == ["1", "2", "D", "C", "Z"]
    assert answer(a, bind("s") + EXECUTE + SYNC) == ["E0A000", "Z"]
    raw.rows(c, "commit")


def test_parameters_are_not_taken_for_another_type(pooler, postgres):
    postgres.sql("create table event (at timestamp); grant insert on event to app", dbname="app")
    a, c = raw.login(pooler)[0], raw.login(pooler)[0]
    assert answer(a, parse("s", "insert into event values ($1)") + SYNC) == ["1", "Z"]
    assert told(a, "s") == (1114,)
    postgres.sql("alter table event alter at type timestamptz using at at time zone 'UTC'", dbname="app")
    raw.rows(c, "begin")
    binary = wire.message("B", b"\0s\0" + struct.pack("!hhhiqh", 1, 1, 1, 8, 0, 0))
    assert answer(a, binary + EXECUTE + SYNC) == ["E0A000", "Z"]
    assert answer(a, wire.message("C", b"Ss\0") + parse("s", "insert into event values ($1)") + SYNC) == ["3", "1", "Z"]
    assert told(a, "s") == (1184,)
    raw.rows(c, "commit")


def test_databases_share_no_statement(pooler, postgres):
    postgres.sql("create database app2 owner app")
    postgres.sql("create table pair (a int); grant select on pair to app", dbname="app")
    postgres.sql("create table pair (a text, b text); grant select on pair to app", dbname="app2")
    clients = [raw.login(pooler)[0], raw.login(pooler, dbname="app2")[0]]
    for _ in range(2):
        for w in clients:
            assert answer(w, parse("s", "select * from pair") + wire.message("D", b"Ss\0") + SYNC) == ["1", "t", "T", "Z"]
        for w in clients:
            assert answer(w, bind("s") + EXECUTE + SYNC) == ["2", "C", "Z"]
        for w in clients:
            assert answer(w, wire.message("C", b"Ss\0") + SYNC) == ["3", "Z"]


@pytest.mark.parametrize("size", [9_000, 17_000, 200_000])
@pytest.mark.parametrize("kind", list("QPBDCEFSHdcf"))
def test_no_message_of_an_idle_client_hangs(idle_clients, kind, size):
    """In pieces; the longer ones are more than a worker keeps for a client that its session does not take yet."""
    w = raw.login(idle_clients)[0]
    name = b"n" * (size - 20)
    body = {"Q": b"select 1 --" + name + b"\0", "P": b"\0select 1 --" + name + b"\0\0\0",
            "B": b"\0" + name + b"\0\0\0\0\0\0\0", "D": b"S" + name + b"\0", "C": b"S" + name + b"\0",
            "E": name + b"\0\0\0\0\0"}.get(kind, name)
    data = wire.message(kind, body) + SYNC
    try:
        for at in range(0, len(data), 4096):
            w.send(data[at:at + 4096])
        w.send(wire.query("select 1"))
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        w.read_until("Z")
    except (EOFError, ConnectionResetError):
        # PostgreSQL takes no more than 10,000 bytes for these.
        assert kind in "BDCEHScf" and size > 10_000
    w.sock.close()
