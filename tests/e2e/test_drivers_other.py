"""tests/e2e/test_drivers_other.py -- JDBC, pgx, lib/pq, node-postgres and libpq's pipelines: as on a direct connection.

Each client (clients/) writes what it sees as lines. They must be the same on a direct connection and through two servers
that decoys take away between any two transactions.
"""
import shutil

import pytest

from lib import paths, peers
from lib.decoys import Decoys
from lib.pooler import Pooler, application_database, libpq_environment
from lib.postgres import Postgres
from lib.process import Process
from lib.waiting import eventually

CLIENTS = paths.ROOT / "tests" / "e2e" / "clients"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture
def pooled(postgres):
    """Where the pooled run goes; never more than two servers."""
    with Pooler(postgres, {"size": 2}) as pooler:
        with Decoys(pooler):
            yield pooler.login
        # A client of the direct run may still be leaving.
        eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0] <= 2,
                   "two servers at most")


def transcript(command, login, **environment):
    """The lines of a client that ran to its end."""
    process = Process(command, env={**libpq_environment(login), "PGSSLMODE": "disable", "HOME": "/nonexistent", **environment})
    try:
        code = process.wait(90)
    finally:
        process.kill()
    assert code == 0, f"{command[0]} ended with {code}:\n{process.output()[-5000:]}"
    lines = process.output("out").splitlines()
    assert lines[-1].startswith("done: "), lines[-1]
    return lines


def same(postgres, pooled, command, **environment):
    direct = {**pooled, "port": postgres.port}
    wanted = transcript(command(direct), direct, **environment)
    for _ in range(2):
        assert transcript(command(pooled), pooled, **environment) == wanted


def test_jdbc(postgres, pooled, tmp_path):
    """Named portals with a fetch size, prepareThreshold, batches, setAutoCommit(false), cancel, CopyManager."""
    classes = peers.jdbc_client(tmp_path)

    def command(login):
        return ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Duser.timezone=UTC", "-cp", classes, "Client", login["host"],
                login["port"], login["dbname"], login["user"], login["password"]]
    same(postgres, pooled, command)


@pytest.mark.parametrize("driver", ["pgx", "pq"])
def test_go(postgres, pooled, driver):
    client = peers.go_client()
    same(postgres, pooled, lambda _: [client, driver])


def test_node_postgres(postgres, pooled):
    modules = peers.node_modules()
    same(postgres, pooled, lambda _: [shutil.which("node"), CLIENTS / "node" / "client.js"], NODE_PATH=modules)


def test_libpq_pipeline(postgres, pooled):
    """Pipelines with errors in the middle, flushes, single rows, cancel."""
    client = paths.built("libpq-client")
    same(postgres, pooled, lambda _: [client])
