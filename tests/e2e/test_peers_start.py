"""tests/e2e/test_peers_start.py -- the PostgreSQL versions of scripts/peers start, with our settings and logins."""
import psycopg2
import pytest

from lib import peers
from lib.postgres import Postgres


@pytest.mark.parametrize("major", [13, 15, 17, 18])
def test_postgres_starts(major):
    with Postgres(peers.postgres_bin(major)) as server:
        assert server.version() == major
        server.create_role("alice", "secret")
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(host="127.0.0.1", port=server.port, user="alice", password="wrong", dbname="postgres")
        connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="alice", password="secret",
                                      dbname="postgres")
        connection.close()
        server.restart()
        assert server.sql("select 1") == [(1,)]
