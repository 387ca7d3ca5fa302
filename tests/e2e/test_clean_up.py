"""tests/e2e/test_clean_up.py -- what a server keeps of one client is not there for the next (product.md §5)."""
import psycopg
import psycopg2
import pytest

from lib.gathering_relay import GatheringRelay
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        application_database(server)
        server.sql("create table numbered (id serial, what text); grant all on numbered, numbered_id_seq to app",
                   dbname="app")
        yield server


@pytest.fixture(name="pooler")
def make_pooler(postgres):
    with Pooler(postgres, {"size": 1}) as running:
        yield running


def client(pooler, **more):
    connection = pooler.connect(**more)
    connection.autocommit = True
    return connection


def ask(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0] if cursor.description else None


def test_the_last_value_of_anothers_sequence(pooler):
    a, b = client(pooler), client(pooler)
    ask(a, "insert into numbered (what) values ('of a')")  # nothing in the text tells of a sequence
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        ask(b, "select lastval()")
    a.close()
    b.close()


def test_a_setting_made_inside_a_function(pooler, postgres):
    postgres.sql("create or replace function set_app(v text) returns text language plpgsql as "
                 "$$ begin return set_config('app.tenant', v, false); end $$", dbname="app")
    a, b = client(pooler), client(pooler)
    ask(a, "select set_app('of a')")
    assert ask(b, "select coalesce(nullif(current_setting('app.tenant', true), ''), 'none')") == "none"
    a.close()
    b.close()


HIDDEN = """
create or replace function hidden(what text) returns text language plpgsql as $$ begin
  case what
    when 'table' then create temp table numbered (id int, what text); insert into numbered values (1, 'secret');
    when 'lock' then perform pg_advisory_lock(77);
    when 'listen' then listen hidden_channel;
    when 'role' then perform set_config('role', 'other_role', false);
    when 'path' then perform set_config('search_path', 'pg_catalog', false);
    when 'timeout' then perform set_config('statement_timeout', '1', false);
  end case;
  return what; end $$
"""


@pytest.mark.parametrize("what, look, clean", [
    ("table", "select count(*) from pg_class where relname = 'numbered' and relpersistence = 't'", 0),
    ("lock", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", 0),
    ("listen", "select count(*) from pg_listening_channels()", 0),
    ("role", "select current_user", "app"),
    ("path", "show search_path", '"$user", public'),
    ("timeout", "show statement_timeout", "0"),
])
def test_what_a_function_leaves(pooler, postgres, what, look, clean):
    """Nothing in the text tells of it."""
    postgres.sql(HIDDEN, dbname="app")
    postgres.sql("do $$ begin create role other_role; exception when duplicate_object then null; end $$; "
                 "grant other_role to app")
    a, b = client(pooler), client(pooler)
    assert ask(a, f"select hidden('{what}')") == what
    try:
        assert ask(b, look) == clean
    except psycopg2.OperationalError as error:  # the clean-up itself met the time-out: then nothing has run
        assert what == "timeout" and "could not be prepared" in str(error)
    a.close()
    b.close()


def test_a_prepared_statement_of_a_function_where_names_pass_untouched(postgres):
    postgres.sql("""create or replace function prepare_secret(what text) returns void language plpgsql as
                    $$ begin execute format('prepare hidden as select %L::text', what); end $$""", dbname="app")
    with Pooler(postgres, {"size": 1, "max_prepared_statements": 0}) as untouched:
        a, b = client(untouched), client(untouched)
        ask(a, "select prepare_secret('of a')")
        assert ask(b, "select count(*) from pg_prepared_statements") == 0
        ask(b, "select prepare_secret('of b')")
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            ask(a, "execute hidden")
        a.close()
        b.close()


@pytest.mark.parametrize("text", ["rollback; {0}", "begin; {0}; rollback; {0}", "abort; {0}; select 1",
                                  "begin; savepoint s; rollback to s; {0}; commit"])
def test_what_is_made_behind_a_rollback(pooler, text):
    """The client keeps its server: nobody else finds it, and it does not lose it."""
    a, b = client(pooler), client(pooler)
    ask(a, text.format("create temp table numbered as select 'secret'::text as what"))
    assert ask(a, "select what from numbered") == "secret"
    a.close()  # the only server is free again, and clean
    assert ask(b, "select count(*) from numbered where what = 'secret'") == 0
    b.close()


def test_a_reset_returns_to_the_startup_value_at_once(pooler, postgres):
    postgres.sql("create schema if not exists tenant; create table if not exists tenant.own (what text); "
                 "grant all on schema tenant to app; grant all on tenant.own to app", dbname="app")
    own = client(pooler, options="-c search_path=tenant")
    ask(own, "set search_path to public")
    ask(own, "reset search_path")
    ask(own, "insert into own values ('alone')")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="behind a RESET"):
        ask(own, "reset all; insert into own values ('in one text')")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        ask(own, "set local search_path to default")
    assert ask(own, "select string_agg(what, ',') from tenant.own") == "alone"
    own.close()


def test_a_setting_that_only_counts_when_the_connection_is_made(pooler):
    """Its client has a server of its own, opened with it, that counts in the bound and ends with the client."""
    with psycopg2.connect(**{**pooler.login, "options": "-c ignore_system_indexes=on"}) as connection:
        assert ask(connection, "show ignore_system_indexes") == "on"
        own = ask(connection, "select pg_backend_pid()")
    connection.close()
    other = client(pooler)
    assert ask(other, "show ignore_system_indexes") == "off"
    assert ask(other, "select pg_backend_pid()") != own
    other.close()


@pytest.mark.parametrize("isolation", ["reset", "tracked"])
def test_what_a_server_said_before_it_was_closed_is_nobodys_answer(postgres, isolation):
    """The clean-up fails, the replay behind it does not, and both answers arrive in one piece."""
    unlock = "execute on function pg_catalog.pg_advisory_unlock_all()"
    with GatheringRelay(postgres.port) as relay, Pooler(
            postgres, {"size": 2, "min_size": 2, "isolation": isolation}, {"workers": 1},
            {"hosts": [relay.address]}) as pooler:
        own, other = psycopg.connect(**pooler.login, autocommit=True), client(pooler)
        own.execute("set timezone to 'Asia/Tokyo'")
        first = ask(other, "select pg_backend_pid()")
        eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 2, "there is another server")
        assert ask(other, "select pg_backend_pid()") == first, "it was the last to be used"
        postgres.sql(f"revoke {unlock} from public", dbname="app")
        try:
            assert own.execute("select %s::text", ["mine"]).fetchone() == ("mine",)
            assert own.execute("show timezone").fetchone() == ("Asia/Tokyo",)
        finally:
            postgres.sql(f"grant {unlock} to public", dbname="app")
        assert ask(other, "select 43") == 43
        own.close()
        other.close()
