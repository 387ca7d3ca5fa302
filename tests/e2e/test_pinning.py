"""tests/e2e/test_pinning.py -- pool.pinning on a real PostgreSQL: what is refused, what is lost, what never leaks."""
import psycopg2
import psycopg2.errors
import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres

PINS = ["create temp table tmp (a int)", "listen c", "select pg_advisory_lock(7)", "prepare q as select 1",
        "set work_mem to '5MB'", "set role app", "set search_path to other", "select set_config('app.x', 'y', false)",
        "do $$ begin perform 1; end $$", "declare h cursor with hold for select 1", "select 1; listen c"]


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture(name="refuse")
def make_refuse(postgres):
    with Pooler(postgres, {"size": 1, "pinning": "refuse"}) as pooler:
        yield pooler


@pytest.fixture(name="off")
def make_off(postgres):
    with Pooler(postgres, {"size": 1, "pinning": "off"}) as pooler:
        yield pooler


def parse(name, text):
    return wire.message("P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def run_unnamed(text):
    """Parse, Bind, Execute of one text, without a Sync."""
    return parse("", text) + wire.message("B", b"\0\0\0\0\0\0\0\0") + wire.message("E", b"\0\0\0\0\0")


def answer(w, data, syncs=1):
    """The types of the replies, with the SQLSTATE of errors and the status of ReadyForQuery."""
    w.send(data)
    words = []
    for _ in range(syncs):
        for kind, body in w.read_until("Z"):
            words.append(kind + (wire.error_fields(body)["C"] if kind in "EN" else body.decode() if kind == "Z" else ""))
    return words


SYNC = wire.message("S")


@pytest.mark.parametrize("text", PINS)
def test_refused_in_the_simple_and_the_extended_protocol(refuse, text):
    w, _, _ = raw.login(refuse)
    assert answer(w, wire.query(text)) == ["E0A000", "ZI"]
    if ";" not in text:
        assert answer(w, run_unnamed(text) + SYNC) == ["E0A000", "ZI"]
    assert raw.rows(w, "select 1") == ["1"]
    assert refuse.total("sidepool_pins_total") == 0


def test_a_refused_statement_fails_its_block(refuse):
    with refuse.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="temporary objects is not possible"):
            cursor.execute("create temp table tmp (a int)")
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            cursor.execute("select 1")
        connection.rollback()
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,)


def test_pipelines_are_skipped_to_their_sync_and_rolled_back(refuse, postgres):
    postgres.sql("create table if not exists kept (a int)", dbname="app")
    postgres.sql("grant all on kept to app", dbname="app")
    w, _, _ = raw.login(refuse)
    got = answer(w, run_unnamed("insert into kept values (1)") + run_unnamed("listen c") +
                 run_unnamed("insert into kept values (2)") + SYNC + wire.query("select count(*) from kept"), syncs=2)
    assert got == ["1", "2", "C", "E0A000", "ZI", "T", "D", "C", "ZI"]
    assert raw.rows(w, "select count(*) from kept") == ["0"], "what came before in the same transaction, too"


def test_every_split_of_a_refused_pipeline(refuse):
    data = (wire.query("begin") + wire.query("listen c") + wire.query("rollback") + parse("s", "listen c") + SYNC +
            wire.query("select 1"))
    w, _, _ = raw.login(refuse)
    for cut in range(1, len(data)):
        w.send(data[:cut])
        got = answer(w, data[cut:], syncs=5)
        assert got == ["C", "ZT", "E0A000", "ZE", "C", "ZI", "E0A000", "ZI", "T", "D", "C", "ZI"], cut


def test_the_end_of_a_long_text_is_not_sent(refuse):
    w, _, _ = raw.login(refuse)
    assert answer(w, wire.query("/*" + "." * 3_000_000 + "*/ listen c")) == ["E0A000", "ZI"]
    assert raw.rows(w, "select pg_listening_channels()") == []
    assert answer(w, parse("", "/*" + "." * 3_000_000 + "*/ listen c") + SYNC) == ["E0A000", "ZI"]
    assert raw.rows(w, "select pg_listening_channels()") == []
    assert raw.rows(w, "select length('" + "x" * 3_000_000 + "')") == ["3000000"]


def test_off_loses_state_and_says_so_once(off, postgres):
    a, _, _ = raw.login(off)
    b, _, _ = raw.login(off)
    assert answer(a, wire.query("select pg_advisory_lock(7)")) == ["T", "D", "C", "N01000", "ZI"]
    assert raw.rows(b, "select pg_try_advisory_lock(7)") == ["t"], "the lock is gone"
    assert answer(a, wire.query("select pg_advisory_lock(7)")) == ["T", "D", "C", "ZI"], "told once"
    assert answer(a, wire.query("create temp table tmp (a int)")) == ["C", "N01000", "ZI"]
    assert raw.error_of(a, "select * from tmp")["C"] == "42P01"
    a.read_until("Z")
    assert raw.error_of(b, "select * from tmp")["C"] == "42P01"
    b.read_until("Z")
    assert postgres.sql("select count(*) from pg_locks where locktype = 'advisory'")[0][0] == 0, "cleaned at once"


def test_off_refuses_what_decides_about_rights(off):
    w, _, _ = raw.login(off)
    for text in ("set role app", "set session authorization app", "set search_path to other",
                 "select set_config('role', 'app', false)", "do $$ begin perform 1; end $$"):
        assert answer(w, wire.query(text)) == ["E0A000", "ZI"], text
    assert answer(w, wire.query("begin; set local search_path to other; commit")) == ["C", "C", "C", "ZI"]


def test_off_keeps_state_to_the_end_of_the_transaction(off):
    w, _, _ = raw.login(off)
    raw.rows(w, "begin")
    raw.rows(w, "create temp table tmp (a int)")
    assert raw.rows(w, "insert into tmp values (5) returning a") == ["5"]
    assert answer(w, wire.query("commit")) == ["C", "N01000", "ZI"]
    assert off.total("sidepool_pins_total") == 0
