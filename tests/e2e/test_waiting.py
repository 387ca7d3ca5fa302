"""tests/e2e/test_waiting.py -- what a client is told that waits for a server connection which cannot be opened."""
import signal

import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually


def test_the_notice_names_the_cause():
    with application_database(Postgres()) as postgres, Pooler(postgres, {"query_wait_notify": "2s"}) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "select 1") == ["1"]
        postgres.stop(signal.SIGQUIT)
        w.send(wire.query("select 1"))
        kind, body = w.read()
        notice = wire.error_fields(body)
        assert (kind, notice["C"]) == ("N", "01000")
        assert notice["D"] == "cannot connect to the database: it refuses connections"
        assert notice["H"] == "Check that the database runs and listens at this address."
        assert str(postgres.port) not in str(notice) and "pool.size" not in str(notice)


def test_a_configured_password_that_is_refused_is_told_at_once():
    """With client_auth = "trust" no client can bring the right one, so there is nothing to wait for."""
    entry = {"name": "app", "password": "secret"}
    with application_database(Postgres()) as postgres, \
            Pooler(postgres, {"query_wait_timeout": "100s"}, upstream={"client_auth": "trust"},
                   tables={"[user]": entry}) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "select 1") == ["1"]
        postgres.sql("alter role app password 'rotated'")
        postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        eventually(lambda: not postgres.sql("select 1 from pg_stat_activity where usename = 'app'"), "the server is gone")
        error = raw.error_of(w, "select 1")
        assert error["C"] == "28P01"
        assert error["H"] == "Correct the password in this user's [[user]] entry."
        pooler.process.wait_line(r"Correct the password in this user's \[\[user\]\] entry")


def test_each_request_waits_for_as_long_as_it_may():
    """Also one that was sent behind another, whose time is over before."""
    with application_database(Postgres()) as postgres, \
            Pooler(postgres, {"size": 1, "query_wait_timeout": "3s"}) as pooler:
        holder, w = raw.login(pooler)[0], raw.login(pooler)[0]
        assert raw.rows(holder, "begin") == []
        w.send(wire.query("select 1") + wire.query("select 2"))
        kind, body = w.read()
        assert (kind, wire.error_fields(body)["C"]) == ("E", "53300")
        assert raw.rows(holder, "commit") == []
        assert [kind for kind, _ in w.read_until("Z")] == ["Z"]
        assert [kind for kind, _ in w.read_until("Z")] == ["T", "D", "C", "Z"]


def test_query_timeout_is_of_each_query():
    """However many are sent together. Of those that one Sync ends PostgreSQL tells nothing before."""
    with application_database(Postgres()) as postgres, \
            Pooler(postgres, {"size": 1, "query_timeout": "2s"}) as pooler:
        w = raw.login(pooler)[0]
        w.send(wire.query("select pg_sleep(0.8)") * 5)
        for _ in range(5):
            assert [kind for kind, _ in w.read_until("Z", "E")] == ["T", "D", "C", "Z"]
        w.send(wire.query("select pg_sleep(60)"))
        kind, body = w.read_until("E")[-1]
        assert (kind, wire.error_fields(body)["C"]) == ("E", "57014")


STREAM = "select repeat('y', 1000), generate_series(1, 100000000)"


@pytest.mark.parametrize("limit, text", [("query_timeout", STREAM), ("transaction_timeout", STREAM),
                                         ("query_timeout", f"copy ({STREAM}) to stdout")])
def test_a_query_whose_rows_keep_coming_gives_its_server_back(limit, text):
    """The time-out and the rows that come behind it both have it cancelled: that is one cancel."""
    with application_database(Postgres()) as postgres, Pooler(postgres, {"size": 1, limit: "1s"}) as pooler:
        w = raw.login(pooler)[0]
        w.send(wire.query(text))
        raw.ends(w)
        other = raw.login(pooler)[0]
        assert raw.rows(other, "select 1") == ["1"]
