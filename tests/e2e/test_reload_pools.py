"""tests/e2e/test_reload_pools.py -- what a reload does to pools and to clients that are there, on one worker and several."""
import signal

import pytest

from lib import raw
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def pooler(postgres, request):
    with Pooler(postgres, {"size": 1}, {"workers": request.param}) as running:
        running.server = {"workers": request.param}
        yield running


def reload(pooler, sighup=True, **tables):
    mark = pooler.process.mark()
    raw.rewrite(pooler, server=pooler.server, **tables)
    if sighup:
        pooler.process.send_signal(signal.SIGHUP)
    pooler.process.wait_line(r"the configuration is loaded", after=mark)


def test_a_smaller_pool_closes_what_is_too_much(postgres, pooler):
    reload(pooler, pool={"size": 3})
    clients = [raw.login(pooler)[0] for _ in range(3)]
    for w in clients:
        assert raw.rows(w, "begin") == []
    assert pooler.total("sidepool_servers") == 3
    reload(pooler, pool={"size": 1})
    for w in clients:
        assert raw.rows(w, "commit") == [], "nobody is disturbed"
    eventually(lambda: pooler.total("sidepool_servers") == 1, "two servers are closed")
    eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0] == 1,
               "PostgreSQL counts one")
    for w in clients:
        assert raw.rows(w, "select 1") == ["1"]


def test_min_size_is_filled(postgres, pooler):
    w, _, _ = raw.login(pooler)
    assert raw.rows(w, "select 1") == ["1"]
    reload(pooler, pool={"size": 4, "min_size": 3})
    eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 3, "three are open")


def test_min_size_from_the_start(postgres):
    with Pooler(postgres, {"size": 4, "min_size": 3}) as pooler:
        raw.login(pooler)
        eventually(lambda: pooler.total("sidepool_servers", 'state="idle"') == 3, "three are open")


def test_changed_file_is_noticed_without_a_signal(postgres, pooler):
    w, _, _ = raw.login(pooler)
    reload(pooler, sighup=False, pool={"size": 5})
    eventually(lambda: pooler.total("sidepool_servers_limit") == 5, "it applies")
    assert raw.rows(w, "select 1") == ["1"]


@pytest.mark.parametrize("text, complaint", [("[pool\n", r"sidepool\.toml:1:"),
                                             ("[pool]\nsise = 3\n", r"sidepool\.toml:2:1: .*size"),
                                             ("[pool]\nsize = 0\n", r"sidepool\.toml:2:"), ("", r"upstream")])
def test_bad_file_changes_nothing(postgres, pooler, text, complaint):
    w, _, _ = raw.login(pooler)
    mark = pooler.process.mark()
    raw.rewrite(pooler, text)
    pooler.process.send_signal(signal.SIGHUP)
    pooler.process.wait_line(complaint, after=mark)
    pooler.process.wait_line(r"the running one stays", after=mark)
    assert raw.rows(w, "select 1") == ["1"]
    assert pooler.total("sidepool_servers_limit") == 1
    assert pooler.total("sidepool_config_last_reload_successful") == 0
    reload(pooler, pool={"size": 2})
    assert pooler.total("sidepool_config_last_reload_successful") == 1


def test_reloads_while_everybody_works(postgres, pooler):
    clients = [raw.login(pooler)[0] for _ in range(8)]
    for n in range(12):
        for w in clients:
            w.send(raw.wire.query(f"select {n} from pg_sleep(0.005)"))
        reload(pooler, pool={"size": 1 + n % 4, "isolation": ["reset", "tracked"][n % 2]})
        for w in clients:
            messages = w.read_until("Z")
            assert [kind for kind, _ in messages] == ["T", "D", "C", "Z"]
            assert messages[1][1].endswith(str(n).encode())
    for w in clients:
        w.sock.close()
