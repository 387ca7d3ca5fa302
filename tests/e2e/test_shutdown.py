"""tests/e2e/test_shutdown.py -- how sidepool ends: exit codes, what clients are told, how long it takes (product.md §6)."""
import signal
import socket
import sys
import threading
import time

import psycopg2
import pytest

from lib import paths, raw, wire
from lib.pooler import Pooler, application_database
from lib.ports import free_port
from lib.postgres import Postgres
from lib.process import Process
from lib.sidepool import Proxy, http_get, wait_status
from lib.waiting import eventually


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


class Ending(Pooler):
    """A Pooler whose process a test ends itself; `delay`: shutdown.max_sigterm_delay."""

    def __init__(self, postgres, delay=None, workers=1, **pool):
        tables = {"shutdown": {"max_sigterm_delay": delay}} if delay is not None else {}
        super().__init__(postgres, {"size": 3, **pool}, {"workers": workers}, tables=tables)

    def close(self):
        if self.process.running():
            self.process.kill()
        self.process.kill()

    def end(self, number=signal.SIGTERM):
        """(exit code, seconds)"""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(), time.monotonic() - began


def running(postgres, text="select pg_sleep(60)"):
    return postgres.sql("select count(*) from pg_stat_activity where usename = 'app' and state = 'active' and "
                        "query = %s", (text,))[0][0]


def turned_away(pooler):
    try:
        socket.create_connection(("127.0.0.1", pooler.port), timeout=5).close()
        return False
    except ConnectionRefusedError:
        return True


def last_words(w):
    return [wire.error_fields(body)["C"] for kind, body in raw.ends(w) if kind == "E"]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("workers", [1, 3])
def test_idle_clients_are_told_and_it_ends_at_once(postgres, number, code, workers):
    with Ending(postgres, workers=workers) as pooler:
        clients = [raw.login(pooler)[0] for _ in range(5)]
        for w in clients:
            assert raw.rows(w, "select 1") == ["1"]
        silent = raw.dial(pooler)
        asked, *_ = raw.ask(pooler, user="postgres")
        ended, seconds = pooler.end(number)
        assert ended == code and seconds < 2
        for w in clients:
            assert last_words(w) == ["57P01"]
        assert last_words(silent) in (["57P03"], [])
        assert last_words(asked) in (["57P03"], [])
        eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0] == 0,
                   "PostgreSQL has no session of ours")


def test_what_runs_may_finish_within_five_seconds(postgres):
    with Ending(postgres) as pooler:
        w, _, _ = raw.login(pooler)
        idle, _, _ = raw.login(pooler)
        w.send(wire.query("select 'done' from pg_sleep(1)"))
        eventually(lambda: running(postgres, "select 'done' from pg_sleep(1)") == 1, "it runs")
        ended, seconds = pooler.end()
        assert ended == 143 and seconds < 4
        messages = raw.ends(w)
        assert "D" in [kind for kind, _ in messages], "the answer came"
        assert wire.error_fields(messages[-1][1])["C"] == "57P01"
        assert last_words(idle) == ["57P01"]


def test_what_runs_longer_is_cancelled(postgres):
    with Ending(postgres) as pooler:
        w, _, _ = raw.login(pooler)
        w.send(wire.query("select pg_sleep(60)"))
        block, _, _ = raw.login(pooler)
        assert raw.rows(block, "begin") == []
        eventually(lambda: running(postgres) == 1, "it runs")
        ended, seconds = pooler.end()
        assert ended == 143 and 4 < seconds <= 5.5
        assert last_words(w)[-1:] == ["57P01"] and last_words(block) == ["57P01"]
        eventually(lambda: running(postgres) == 0, "the query is cancelled")


def test_zero_means_at_once(postgres):
    with Ending(postgres, "0s") as pooler:
        w, _, _ = raw.login(pooler)
        w.send(wire.query("select pg_sleep(60)"))
        eventually(lambda: running(postgres) == 1, "it runs")
        ended, seconds = pooler.end()
        assert ended == 143 and seconds < 1.5
        eventually(lambda: running(postgres) == 0, "the query is cancelled")


def test_a_second_signal_ends_the_patience(postgres):
    with Ending(postgres, "60s") as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pooler.process.send_signal(signal.SIGTERM)
        pooler.process.wait_line("SIGTERM signal received")
        assert raw.rows(w, "select 1") == ["1"], "with a delay of its own everything goes on"
        ended, seconds = pooler.end()
        assert ended == 143 and seconds < 1.5
        assert last_words(w) == ["57P01"]


def test_explicit_delay_with_an_open_transaction_is_a_failure(postgres):
    with Ending(postgres, "1s") as pooler:
        w, _, _ = raw.login(pooler)
        idle, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        ended, seconds = pooler.end()
        assert ended == 1 and 1 <= seconds < 2.5
        assert last_words(w) == ["57P01"] and last_words(idle) == ["57P01"]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_explicit_delay_with_idle_clients_is_none(postgres, mode):
    with Ending(postgres, "1s", mode=mode) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "select 1") == ["1"]
        ended, seconds = pooler.end()
        assert ended == 143 and 1 <= seconds < 2.5
        assert last_words(w) == ["57P01"]


def test_explicit_delay_ends_with_the_last_client(postgres):
    with Ending(postgres, "60s") as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pooler.process.send_signal(signal.SIGTERM)
        pooler.process.wait_line("SIGTERM signal received")
        eventually(lambda: turned_away(pooler), "nobody else is let in")
        assert raw.rows(w, "commit") == []
        assert raw.rows(w, "select 2") == ["2"], "and may begin another transaction"
        w.send(wire.message("X"))
        assert pooler.process.wait() == 143


def test_a_client_that_becomes_idle_while_it_drains_leaves_then(postgres):
    with Ending(postgres) as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pooler.process.send_signal(signal.SIGTERM)
        pooler.process.wait_line("SIGTERM signal received")
        began = time.monotonic()
        assert raw.rows(w, "select 1") == ["1"]
        w.send(wire.query("commit"))
        assert [kind for kind, _ in w.read_until("Z")] == ["C", "Z"]
        assert last_words(w) == ["57P01"]
        assert pooler.process.wait() == 143 and time.monotonic() - began < 3


def test_waiting_clients_do_not_keep_it(postgres):
    with Ending(postgres, size=1) as pooler:
        holder, _, _ = raw.login(pooler)
        assert raw.rows(holder, "begin") == []
        waiting, _, _ = raw.login(pooler)
        waiting.send(wire.query("select 1"))
        eventually(lambda: pooler.total("sidepool_clients", 'state="waiting"') == 1, "it waits")
        ended, seconds = pooler.end()
        assert ended == 143 and seconds <= 5.5
        assert last_words(waiting) == ["57P01"] and last_words(holder) == ["57P01"]


def test_all_that_runs_is_cancelled_and_be_it_one_by_one(postgres):
    with Ending(postgres, delay="0s", workers=2, size=8, max_cancels=1) as pooler:
        clients = [raw.login(pooler)[0] for _ in range(8)]
        for w in clients:
            w.send(wire.query("select pg_sleep(60)"))
        eventually(lambda: running(postgres) == 8, "PostgreSQL runs them")
        assert pooler.end()[0] == 143
        eventually(lambda: running(postgres) == 0, "their queries have been cancelled")


def test_pass_through_clients_do_not_keep_it(postgres):
    with Ending(postgres, mode="none") as pooler:
        asked, kind, _ = raw.ask(pooler)
        assert kind == "R"
        connection = pooler.connect()
        ended, seconds = pooler.end()
        assert ended == 143 and seconds <= 5.5
        assert last_words(asked) == ["57P03"]
        with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
            cursor.execute("select 1")


def test_quitquitquit_and_readiness(postgres):
    port, http, admin = free_port(), free_port(), free_port()
    pooler = Pooler(postgres)  # only for its file
    try:
        pooler.process.kill()
        del port
        proxy = Proxy(["--config", pooler.folder + "/sidepool.toml", "--health-check", "--http-port", str(http),
                       "--quitquitquit", "--admin-port", str(admin), "--max-sigterm-delay", "60s"])
        with proxy:
            wait_status(http, "/readiness", 200)
            w, _, _ = raw.login(pooler)
            assert raw.rows(w, "begin") == []
            assert http_get(admin, "/quitquitquit", method="POST")[0] == 200
            wait_status(http, "/readiness", 503)
            w.sock.close()
            assert proxy.wait() == 0
    finally:
        pooler.process.kill()


def test_sd_notify(postgres, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        pooler = Pooler(postgres)
        pooler.process.kill()
        with Proxy(["--config", pooler.folder + "/sidepool.toml"], env={"NOTIFY_SOCKET": path}) as proxy:
            assert manager.recv(100) == b"READY=1"
            proxy.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert proxy.wait() == 143


def test_signal_in_the_middle_of_a_storm(postgres):
    """Clients log in, work and leave while it ends: it ends in time and nobody hangs."""
    with Ending(postgres, workers=3) as pooler:
        stop = threading.Event()
        ended = []

        def work():
            while not stop.is_set():
                try:
                    c = pooler.connect()
                    c.cursor().execute("select 1")
                    c.close()
                except psycopg2.Error:
                    pass
            ended.append(1)
        threads = [threading.Thread(target=work) for _ in range(16)]
        for t in threads:
            t.start()
        eventually(lambda: pooler.total("sidepool_transactions_total") > 50, "the storm is there")
        code, seconds = pooler.end()
        stop.set()
        for t in threads:
            t.join(30)
        assert code == 143 and seconds < 5.5 and len(ended) == 16


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_came_before_the_handlers_is_not_lost(number, tmp_path):
    """It is pending from before the first instruction, as it is for process 1 of a container."""
    config = tmp_path / "sidepool.toml"
    config.write_text(f'[[upstream]]\nhosts = ["127.0.0.1:1"]\nlisten = ["127.0.0.1:{free_port()}"]\n')
    early = ("import os, signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, [int(sys.argv[1])])\n"
             "os.kill(os.getpid(), int(sys.argv[1]))\nos.execv(sys.argv[2], sys.argv[2:])")
    command = [sys.executable, "-c", early, int(number), paths.sidepool(), "--config", config]
    with Process(command, name="sidepool") as process:
        if number == signal.SIGHUP:
            process.wait_line("the configuration is loaded")
            process.send_signal(signal.SIGTERM)
        assert process.wait() == (130 if number == signal.SIGINT else 143)


def test_a_command_that_only_asks_can_be_interrupted():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Process([paths.sidepool(), "wait", "--http-port", silent.getsockname()[1], "--max", "60s"]) as process:
            silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
