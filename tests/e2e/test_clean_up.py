"""tests/e2e/test_clean_up.py -- what a server keeps of one client is not there for the next (product.md §5)."""
import psycopg2
import pytest

from lib.pooler import Pooler, application_database
from lib.postgres import Postgres


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
