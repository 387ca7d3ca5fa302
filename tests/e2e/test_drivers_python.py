"""tests/e2e/test_drivers_python.py -- psycopg2, psycopg 3 and asyncpg: through two shared servers as on a direct line.

Each scenario runs twice, directly and through sidepool while decoys take the servers away between any two transactions.
What it returns must be the same.
"""
import asyncio
import datetime
import decimal
import io
import json
import uuid

import pytest

from lib import peers
from lib.decoys import Decoys
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres

psycopg2 = peers.module("psycopg2", "python3-psycopg2")
psycopg = peers.module("psycopg", "python3-psycopg")
asyncpg = peers.module("asyncpg", "python3-asyncpg")

SCHEMA = """
create table item (id int primary key, name text not null, price numeric(10, 2), added timestamptz);
insert into item select n, 'item ' || n, n * 1.25, '2024-01-01 00:00+00'::timestamptz + n * interval '1 hour'
  from generate_series(1, 500) n;
create type mood as enum ('sad', 'fine');
create type pair as (a int, b text);
"""


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture(scope="module")
def pooled(postgres):
    with Pooler(postgres, {"size": 2}) as pooler, Decoys(pooler):
        yield pooler.login
        active = postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0]
        assert active <= 2, f"{active} servers"


@pytest.fixture
def direct(postgres):
    return {"host": "127.0.0.1", "port": postgres.port, "user": "app", "password": "secret", "dbname": "app"}


def fresh(postgres):
    """The database as each run finds it."""
    connection = postgres.connect(user="app", dbname="app")
    try:
        with connection.cursor() as cursor:
            cursor.execute("drop owned by app")
            cursor.execute("create schema if not exists public")
            cursor.execute(SCHEMA)
    finally:
        connection.close()


# -- psycopg2


def psycopg2_types(login):
    connection = psycopg2.connect(**login)
    values = [1, -5, "it's \\ \"quoted\" ü€😀", None, True, 1.5, decimal.Decimal("12.340"), b"\x00\xff'\\",
              datetime.date(2024, 2, 29), datetime.timedelta(hours=5), [1, 2, None], ["a", "b'"],
              datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc)]
    rows = []
    with connection, connection.cursor() as cursor:
        for value in values:
            cursor.execute("select %s as v", (value,))
            row = cursor.fetchone()[0]
            rows.append((bytes(row) if isinstance(row, memoryview) else row, cursor.description[0].type_code))
        cursor.execute("select %s::jsonb, %s::uuid", ('{"a": [1, 2]}', str(uuid.UUID(int=5))))
        rows.append(cursor.fetchone())
        cursor.execute("select 1; select 2 as two; select * from generate_series(1, 3)")
        rows.append((cursor.fetchall(), cursor.statusmessage))
    connection.close()
    return rows


def psycopg2_transactions(login):
    connection = psycopg2.connect(**login)
    seen = []
    cursor = connection.cursor()

    def count():
        cursor.execute("select count(*) from item")
        return cursor.fetchone()[0]

    cursor.execute("delete from item where id <= 10")
    connection.rollback()
    seen.append(count())
    cursor.execute("savepoint one")
    with pytest.raises(psycopg2.errors.UniqueViolation) as violation:
        cursor.execute("insert into item values (1, 'again')")
    diagnosis = violation.value.diag
    seen.append((diagnosis.sqlstate, diagnosis.message_detail, diagnosis.constraint_name, diagnosis.table_name))
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction) as failed:
        cursor.execute("select 1")
    seen.append((str(failed.value), connection.get_transaction_status()))
    cursor.execute("rollback to one")
    cursor.execute("insert into item values (501, 'new') returning id")
    seen.append(cursor.fetchone())
    connection.commit()
    seen.append(count())
    connection.commit()
    for level in ("SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"):
        connection.set_session(isolation_level=level, readonly=True, deferrable=False)
        cursor.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        seen.append(cursor.fetchone())
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("delete from item")
        connection.rollback()
    connection.set_session(readonly=False, autocommit=True)
    for _ in range(5):
        with pytest.raises(psycopg2.errors.SyntaxError) as error:
            cursor.execute("selec")
        seen.append((str(error.value), error.value.diag.statement_position))
        seen.append(count())
    connection.close()
    return seen


def psycopg2_settings(login):
    """What a session sets is there in every later transaction, whichever server runs it."""
    connection = psycopg2.connect(**login, application_name="mine", options="-c statement_timeout=54321 -c search_path=x")
    connection.autocommit = True
    cursor = connection.cursor()
    seen = []

    def look():
        cursor.execute("select current_setting('timezone'), current_setting('search_path'), "
                       "current_setting('datestyle'), current_setting('application_name'), "
                       "current_setting('statement_timeout'), current_setting('work_mem'), "
                       "nullif(current_setting('mine.custom', true), ''), '2024-06-01 00:00+00'::timestamptz::text")
        seen.append(cursor.fetchone())
        seen.append([connection.get_parameter_status(name) for name in
                     ("TimeZone", "DateStyle", "application_name", "client_encoding", "is_superuser")])

    look()
    for text in ("set timezone to 'Asia/Kolkata'", "set search_path to public, pg_catalog", "set datestyle to 'SQL, DMY'",
                 "set work_mem to '7MB'", "set mine.custom to 'a; b'", "set application_name to 'other'",
                 "reset search_path", "reset timezone", "set session characteristics as transaction read only",
                 "reset all", "discard all"):
        cursor.execute(text)
        for _ in range(3):
            look()
    cursor.execute("begin; set local timezone to 'UTC'; set local search_path to nowhere")
    look()
    cursor.execute("commit")
    look()
    cursor.execute("begin; set timezone to 'Europe/Rome'; rollback")
    look()
    connection.set_client_encoding("LATIN1")
    for _ in range(3):
        cursor.execute("select 'é', current_setting('client_encoding')")
        seen.append(cursor.fetchone())
    connection.close()
    return seen


def psycopg2_session_state(login):
    """Temporary tables, SQL PREPARE, advisory locks, held cursors, LISTEN: each lives on from one transaction to the next."""
    connection = psycopg2.connect(**login)
    connection.autocommit = True
    cursor = connection.cursor()
    seen = []
    cursor.execute("create temp table scratch (n int)")
    for number in range(5):
        cursor.execute("insert into scratch values (%s)", (number,))
        cursor.execute("select sum(n), count(*) from scratch")
        seen.append(cursor.fetchone())
    cursor.execute("prepare plan (int) as select $1 * 2")
    for number in range(5):
        cursor.execute("execute plan (%s)", (number,))
        seen.append(cursor.fetchone())
    cursor.execute("select pg_advisory_lock(77)")
    cursor.execute("select pg_advisory_unlock(77), pg_advisory_unlock(77)")
    seen.append((cursor.fetchone(), [notice.strip() for notice in connection.notices]))
    cursor.execute("declare held cursor with hold for select id from item order by id")
    for _ in range(3):
        cursor.execute("fetch 2 from held")
        seen.append(cursor.fetchall())
    cursor.execute("close held")
    cursor.execute("listen news")
    other = psycopg2.connect(**login)
    other.autocommit = True
    for number in range(3):
        other.cursor().execute("select pg_notify('news', %s)", (f"number {number}",))
        while len(connection.notifies) <= number:
            cursor.execute("select 1")
    seen.append([(notify.channel, notify.payload) for notify in connection.notifies])
    other.close()
    cursor.execute("discard all")
    cursor.execute("select to_regclass('scratch')")
    seen.append(cursor.fetchone())
    connection.close()
    return seen


def psycopg2_cursors_and_copy(login):
    connection = psycopg2.connect(**login)
    seen = []
    with connection, connection.cursor("named") as cursor:
        cursor.itersize = 7
        cursor.execute("select id, name, price from item order by id")
        seen.append([row for row in cursor][-3:])
    with connection, connection.cursor("scrolled", scrollable=True) as cursor:
        cursor.execute("select id from item order by id")
        cursor.scroll(100)
        seen.append(cursor.fetchmany(3))
        cursor.scroll(-50)
        seen.append(cursor.fetchone())
    held = connection.cursor("held", withhold=True)
    held.execute("select id from item order by id")
    seen.append(held.fetchmany(2))
    connection.commit()
    seen.append(held.fetchmany(2))
    held.close()
    connection.commit()
    cursor = connection.cursor()
    cursor.copy_expert("copy item (id, name) from stdin with (format csv)", io.StringIO("601,\"a,b\"\n602,c\n"))
    connection.commit()
    out = io.StringIO()
    cursor.copy_expert("copy (select id, name from item where id > 598 order by id) to stdout", out)
    seen.append((out.getvalue(), cursor.rowcount))
    connection.commit()
    cursor.execute("select repeat('x', 1000000), n from generate_series(1, 8) n")
    seen.append([(len(text), number) for text, number in cursor])
    cursor.execute("do $$ begin raise notice 'said %', 1; raise warning 'louder'; end $$")
    seen.append([notice.strip() for notice in connection.notices])
    connection.commit()
    connection.close()
    return seen


# -- psycopg 3


def psycopg_prepared(login):
    """prepare_threshold=0: all is prepared; a small cache makes psycopg send DEALLOCATE for the oldest."""
    seen = []
    with psycopg.connect(**login, autocommit=True) as connection:
        connection.prepare_threshold = 0
        connection.prepared_max = 3
        for turn in range(3):
            for number in range(6):
                seen.append(connection.execute(f"select {number}, %s::int, name from item where id = %s",
                                               (turn, number + 1)).fetchone())
            seen.append(connection.execute("select %s", ("text",)).fetchone())
            seen.append(connection.execute("select %s", (turn,)).fetchone())
        # The same name under other settings must not be the same plan: literals are converted when it is parsed.
        for zone in ("UTC", "Asia/Tokyo", "UTC"):
            connection.execute(f"set timezone to '{zone}'")
            seen.append(connection.execute("select extract(epoch from '2024-06-01 00:00'::timestamptz)::int").fetchone())
        for number in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero) as error:
                connection.execute("select 1 / %s::int", (0,))
            seen.append(str(error.value))
            seen.append(connection.execute("select 6 / %s::int", (number + 1,)).fetchone())
    return seen


def psycopg_pipeline(login):
    seen = []
    with psycopg.connect(**login) as connection:
        connection.prepare_threshold = 0
        with connection.pipeline(), connection.cursor() as one, connection.cursor() as two:
            for number in range(20):
                one.execute("insert into item values (%s, %s)", (1000 + number, f"piped {number}"))
            two.execute("select count(*) from item where id >= %s", (1000,))
            seen.append(two.fetchone())
        connection.commit()
        with pytest.raises(psycopg.errors.UniqueViolation) as violation:
            with connection.pipeline():
                connection.execute("insert into item values (1100, 'kept?')")
                connection.execute("insert into item values (1, 'duplicate')")
                connection.execute("insert into item values (1101, 'never')")
        seen.append((violation.value.sqlstate, connection.info.transaction_status))
        connection.rollback()
        seen.append(connection.execute("select count(*) from item where id >= 1100").fetchone())
        connection.commit()
        connection.autocommit = True
        for turn in range(4):
            with connection.pipeline() as pipeline:
                cursors = [connection.execute("select %s::int + %s", (turn, number)) for number in range(5)]
                pipeline.sync()
                last = connection.execute("select 'last', %s::int", (turn,))
                seen.append([cursor.fetchone() for cursor in (*cursors, last)])
            with pytest.raises(psycopg.errors.UndefinedTable):
                with connection.pipeline():
                    connection.execute("select * from nowhere", prepare=False)
                    connection.execute("insert into item values (1200, 'skipped')", prepare=False)
            seen.append(connection.execute("select %s::int", (turn,)).fetchone())
        seen.append(connection.execute("select count(*) from item where id = 1200").fetchone())
        with connection.cursor() as cursor:
            cursor.executemany("insert into item values (%s, %s) returning id", [(2000 + n, "many") for n in range(30)],
                               returning=True)
            seen.append(cursor.fetchone())
            while cursor.nextset():
                seen.append(cursor.fetchone())
    return seen


def psycopg_cursors(login):
    seen = []
    with psycopg.connect(**login) as connection:
        connection.prepare_threshold = 0
        with connection.transaction():
            with connection.cursor(name="server side") as cursor:
                cursor.execute("select id, name from item where id > %s order by id", (5,))
                seen.append(cursor.fetchmany(3))
                cursor.scroll(10)
                seen.append(cursor.fetchone())
            with connection.cursor(name="binary", binary=True) as cursor:
                cursor.itersize = 50
                cursor.execute("select id, price, added from item order by id")
                seen.append(sum(row[0] for row in cursor))
            with pytest.raises(psycopg.errors.DivisionByZero):
                with connection.transaction():
                    connection.execute("select 1 / 0")
            seen.append(connection.execute("select 'still alive'").fetchone())
        with connection.cursor() as cursor:
            for row in cursor.stream("select id from item where id < %s order by id", (8,)):
                seen.append(row)
        for binary in (False, True):
            row = connection.execute("select %b, %b, %b, %b" if binary else "select %s, %s, %s, %s",
                                     (1, [1, 2], datetime.date(2024, 1, 1), uuid.UUID(int=7)), binary=binary).fetchone()
            seen.append(row)
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.execute("select id from item order by id")
            connection.commit()
            seen.append(cursor.fetchmany(4))
    return seen


def psycopg_copy(login):
    seen = []
    with psycopg.connect(**login) as connection:
        cursor = connection.cursor()
        with cursor.copy("copy item (id, name) from stdin") as copy:
            for number in range(3000, 3100):
                copy.write_row((number, f"row\t{number}"))
        connection.commit()
        with cursor.copy("copy item (id, name) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for number in range(3100, 3110):
                copy.write_row((number, "binary"))
        connection.commit()
        with cursor.copy("copy (select id, name from item where id >= %s order by id) to stdout", (3095,)) as copy:
            copy.set_types(["int4", "text"])
            seen.extend(copy.rows())
        with pytest.raises(psycopg.errors.QueryCanceled) as error:
            with cursor.copy("copy item (id, name) from stdin") as copy:
                copy.write_row((4000, "lost"))
                raise KeyError("mine")
        seen.append(str(error.value).splitlines()[0])
        connection.rollback()
        with pytest.raises(psycopg.DataError):
            with cursor.copy("copy item (id, name) from stdin") as copy:
                copy.write("not a row\n" * 1000)
        connection.rollback()
        seen.append(connection.execute("select count(*) from item where id >= 3000").fetchone())
    return seen


def psycopg_async(login):
    async def run():
        seen = []
        connection = await psycopg.AsyncConnection.connect(**login, autocommit=True)
        connection.prepare_threshold = 0
        for number in range(10):
            cursor = await connection.execute("select %s::int, name from item where id = %s", (number, number + 1))
            seen.append(await cursor.fetchone())
        heard = []
        connection.add_notify_handler(lambda notify: heard.append((notify.channel, notify.payload, notify.pid)))
        await connection.execute("listen psycopg_news")
        await connection.execute("notify psycopg_news, 'hello'")
        while not heard:
            await connection.execute("select 1")
        seen.append([(channel, payload, pid == connection.info.backend_pid) for channel, payload, pid in heard])
        await connection.execute("unlisten *")
        async with connection.pipeline():
            cursors = [await connection.execute("select %s::int", (number,)) for number in range(5)]
        seen.append([await cursor.fetchone() for cursor in cursors])
        await connection.close()
        return seen
    return asyncio.run(run())


# -- asyncpg


def with_asyncpg(scenario):
    def run(login):
        names = {"dbname": "database"}
        arguments = {names.get(key, key): value for key, value in login.items()}
        return asyncio.run(asyncio.wait_for(scenario(arguments), 60))
    run.__name__ = scenario.__name__
    return run


@with_asyncpg
async def asyncpg_prepared(login):
    seen = []
    connection = await asyncpg.connect(**login, server_settings={"application_name": "mine", "jit": "off"})
    for turn in range(5):
        for number in range(5):
            seen.append(tuple(await connection.fetchrow(f"select $1::int + {number}, name from item where id = $2",
                                                        turn, number + 1)))
    seen.append(tuple(await connection.fetchrow("select current_setting('application_name'), current_setting('jit')")))
    statement = await connection.prepare("select id, price, added from item where id = any($1) order by id")
    seen.append((statement.get_parameters(), statement.get_attributes()))
    for number in range(4):
        seen.append([tuple(row) for row in await statement.fetch([number, number + 1])])
    with pytest.raises(asyncpg.exceptions.DivisionByZeroError):
        await connection.fetch("select 1 / $1::int", 0)
    seen.append(await connection.fetchval("select 6 / $1::int", 3))
    await connection.close()
    return seen


@with_asyncpg
async def asyncpg_types(login):
    seen = []
    connection = await asyncpg.connect(**login)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    seen.append(tuple(await connection.fetchrow(
        "select $1::jsonb, $2::mood, $3::pair, $4::int[], $5::timestamptz, $6::bytea, $7::numeric",
        {"a": [1, None]}, "fine", (1, "b"), [1, 2], datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        b"\0\1", decimal.Decimal("1.50"))))
    seen.append([tuple(row) for row in await connection.fetch("select n, repeat('y', 200000) from generate_series(1, 9) n")])
    log = []
    connection.add_log_listener(lambda _, message: log.append((message.severity, message.message)))
    await connection.execute("do $$ begin raise notice 'said'; end $$")
    await connection.execute("select 1; select 2")
    await asyncio.sleep(0)  # listeners run from the loop
    seen.append(log)
    await connection.close()
    return seen


@with_asyncpg
async def asyncpg_transactions(login):
    seen = []
    connection = await asyncpg.connect(**login)
    async with connection.transaction(isolation="serializable", readonly=True):
        seen.append(await connection.fetchval("show transaction_isolation"))
        cursor = await connection.cursor("select id from item order by id")
        seen.append([row[0] for row in await cursor.fetch(5)])
        await cursor.forward(20)
        seen.append((await cursor.fetchrow())[0])
        total = 0
        async for row in connection.cursor("select id from item", prefetch=30):
            total += row[0]
        seen.append(total)
    with pytest.raises(asyncpg.exceptions.UniqueViolationError) as error:
        async with connection.transaction():
            await connection.execute("insert into item values (7000, 'rolled back')")
            async with connection.transaction():
                await connection.execute("insert into item values (1, 'duplicate')")
    seen.append((error.value.sqlstate, error.value.detail))
    await connection.executemany("insert into item values ($1, $2)", [(8000 + n, f"many {n}") for n in range(200)])
    with pytest.raises(asyncpg.exceptions.UniqueViolationError):
        await connection.executemany("insert into item values ($1, $2)", [(9000, "x"), (9000, "x"), (9001, "x")])
    seen.append(await connection.fetchval("select count(*) from item where id >= 7000"))
    await connection.close()
    return seen


@with_asyncpg
async def asyncpg_copy_and_listen(login):
    seen = []
    connection = await asyncpg.connect(**login)
    seen.append(await connection.copy_records_to_table("item", columns=["id", "name"],
                                                       records=[(5000 + n, f"copied {n}") for n in range(300)]))
    out = io.BytesIO()
    seen.append(await connection.copy_from_query("select id, name from item where id > $1 order by id", 5290, output=out))
    seen.append(out.getvalue())
    with pytest.raises(asyncpg.exceptions.UniqueViolationError):
        await connection.copy_records_to_table("item", columns=["id", "name"], records=[(6000, "x"), (1, "x")])
    seen.append(await connection.fetchval("select count(*) from item where id >= 5000"))
    heard = asyncio.Queue()
    await connection.add_listener("asyncpg_news", lambda _c, _pid, channel, payload: heard.put_nowait((channel, payload)))
    other = await asyncpg.connect(**login)
    for number in range(3):
        await other.execute(f"notify asyncpg_news, '{number}'")
    seen.append([await heard.get() for _ in range(3)])
    await other.close()
    await connection.reset()
    await connection.close()
    return seen


@with_asyncpg
async def asyncpg_pool_and_timeout(login):
    seen = []
    async with asyncpg.create_pool(**login, min_size=3, max_size=6) as pool:
        async def work(number):
            async with pool.acquire() as connection:
                await connection.execute("set timezone to 'Asia/Tokyo'")
                return await connection.fetchval("select $1::int * 2", number)
        seen.append(await asyncio.gather(*(work(number) for number in range(40))))
        async with pool.acquire() as connection:
            seen.append(await connection.fetchval("show timezone") != "Asia/Tokyo")  # pool.release() ran RESET ALL
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetch("select pg_sleep(30)", timeout=0.2)
            seen.append(await connection.fetchval("select 'cancelled and usable'"))
    return seen


SCENARIOS = [psycopg2_types, psycopg2_transactions, psycopg2_settings, psycopg2_session_state, psycopg2_cursors_and_copy,
             psycopg_prepared, psycopg_pipeline, psycopg_cursors, psycopg_copy, psycopg_async,
             asyncpg_prepared, asyncpg_types, asyncpg_transactions, asyncpg_copy_and_listen, asyncpg_pool_and_timeout]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_as_a_direct_connection(scenario, postgres, direct, pooled):
    fresh(postgres)
    wanted = scenario(direct)
    for _ in range(3):
        fresh(postgres)
        assert scenario(pooled) == wanted
