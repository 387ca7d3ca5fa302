"""tests/e2e/test_lifecycle.py -- delays, probes and certificates while it ends; ending by itself (product.md §6)."""
import json
import signal
import socket
import time

import psycopg2
import pytest

from lib import raw, wire
from lib.emulator import Emulator
from lib.pooler import Pooler, application_database
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get, metric_values, wait_status
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice", "secret")
        yield application_database(server)


class Ending(Pooler):
    """A Pooler whose process a test ends itself."""

    def __init__(self, postgres, **shutdown):
        self.health = free_port()
        super().__init__(postgres, {"size": 3}, {"workers": 1},
                         tables={"shutdown": shutdown, "health": {"listen": f"127.0.0.1:{self.health}"}})

    def close(self):
        self.process.kill()


def turned_away(pooler):
    try:
        socket.create_connection(("127.0.0.1", pooler.port), timeout=5).close()
        return False
    except ConnectionRefusedError:
        return True


def codes(w):
    return [wire.error_fields(body)["C"] for kind, body in raw.ends(w) if kind == "E"]


def test_min_sigterm_delay_lets_new_clients_in(postgres):
    with Ending(postgres, min_sigterm_delay="3s") as pooler:
        wait_status(pooler.health, "/readiness", 200)
        began = time.monotonic()
        pooler.process.send_signal(signal.SIGTERM)
        pooler.process.wait_line(r"SIGTERM signal received\. Shutting down")
        assert http_get(pooler.health, "/readiness") == (503, "proxy has stopped"), "at once"
        assert http_get(pooler.health, "/startup")[0] == 200
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "select 1") == ["1"], "new clients are served"
        assert pooler.process.wait() == 143
        assert 3 <= time.monotonic() - began < 5, "and an idle one does not keep it beyond the delay"
        assert codes(w) == ["57P01"]


def test_both_delays_follow_each_other(postgres):
    with Ending(postgres, min_sigterm_delay="1s", max_sigterm_delay="60s") as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pooler.process.send_signal(signal.SIGTERM)
        eventually(lambda: turned_away(pooler), "the first delay is over")
        assert raw.rows(w, "select 1") == ["1"]
        assert raw.rows(w, "commit") == []
        assert raw.rows(w, "select 2") == ["2"], "clients that are there go on"
        w.send(wire.message("X"))
        assert pooler.process.wait() == 143


def test_a_second_signal_ends_the_first_delay(postgres):
    with Ending(postgres, min_sigterm_delay="60s", exit_zero_on_sigterm=True) as pooler:
        w, _, _ = raw.login(pooler)
        pooler.process.send_signal(signal.SIGTERM)
        pooler.process.wait_line("SIGTERM signal received")
        began = time.monotonic()
        pooler.process.send_signal(signal.SIGTERM)
        assert pooler.process.wait() == 0 and time.monotonic() - began < 2
        assert codes(w) == ["57P01"]


def test_what_is_said_about_a_transaction_that_stays(postgres):
    with Ending(postgres, max_sigterm_delay="1s") as pooler:
        w, _, _ = raw.login(pooler)
        assert raw.rows(w, "begin") == []
        pooler.process.send_signal(signal.SIGTERM)
        assert pooler.process.wait() == 1
        assert "error during shutdown: 1 connection(s) still open after waiting 1s" in pooler.process.output("err")


def test_log_lines_of_many_clients_at_the_end_are_whole(postgres):
    """Workers go on logging while the log is closed."""
    with Ending(postgres) as pooler:
        clients = [raw.login(pooler)[0] for _ in range(100)]
        pooler.process.send_signal(signal.SIGTERM)
        assert pooler.process.wait() == 143
        for w in clients:
            assert codes(w) == ["57P01"]
        assert len(pooler.process.find(r"^\S+ \S+ \[pg\] Accepted connection from ")) == 100
        eventually(lambda: len(pooler.process.find(r"^\S+ \S+ \[pg\] sidepool closed the connection$")) == 100,
                   "each has its line")  # deviation: closed-by-us


def test_certificates_are_renewed_until_the_last_client_has_gone(postgres):
    """The Auth Proxy stops renewing first, so that whoever is still there cannot connect again."""
    port, http = free_ports(2)
    with Emulator(postgres, [NAME], principal=PRINCIPAL, more=["--token", f"T={PRINCIPAL}"]) as emulator:
        args = ["--token", "T", "--sqladmin-api-endpoint", emulator.url, "--max-sigterm-delay", "60s", "--port",
                str(port), "--prometheus", "--http-port", str(http), NAME]
        with Proxy(args) as proxy:
            connection = psycopg2.connect(host="127.0.0.1", port=port, user="alice", password="secret",
                                          dbname="postgres")
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("select 1")
            proxy.send_signal(signal.SIGTERM)
            proxy.wait_line("SIGTERM signal received")
            before = emulator.count("generateEphemeralCert")
            emulator.rotate(NAME, "client_ca", keep_old=False)
            emulator.kill_connections()
            eventually(lambda: sum(v for name, v in metric_values(http).items() if name.startswith("sidepool_servers{"))
                       == 0, "the server that was killed is forgotten")
            cursor.execute("select 2")
            assert cursor.fetchone() == (2,)
            assert emulator.count("generateEphemeralCert") > before  # deviation: renewal
            connection.close()
            assert proxy.wait() == 143


def test_quitquitquit_keeps_the_delays(postgres, tmp_path):
    port, http, admin = free_ports(3)
    file = tmp_path / "s.toml"
    file.write_text(f"[[upstream]]\nhosts = [{json.dumps(postgres.tcp)}]\nlisten = \"127.0.0.1:{port}\"\n")
    args = ["--config", str(file), "--health-check", "--http-port", str(http), "--quitquitquit", "--admin-port",
            str(admin), "--min-sigterm-delay", "1s"]
    with Proxy(args) as proxy:
        wait_status(http, "/readiness", 200)
        assert http_get(admin, "/quitquitquit", method="PUT") == (400, "")
        assert http_get(admin, "/quitquitquit") == (200, "")
        assert http_get(admin, "/quitquitquit") == (200, ""), "again is heard and changes nothing"
        wait_status(http, "/readiness", 503)
        assert proxy.wait() == 0
        assert len(proxy.find(r"/quitquitquit received request\. Shutting down\.\.\.")) == 1


# ---- Ending by itself, for Kubernetes Jobs


def test_it_ends_when_the_last_client_has_gone(postgres):
    with Ending(postgres, exit_when_idle="1s") as pooler:
        first, _, _ = raw.login(pooler)
        second, _, _ = raw.login(pooler)
        first.send(wire.message("X"))
        for _ in range(3):  # longer than the limit: somebody is there
            raw.rows(second, "select pg_sleep(0.7)")
        assert pooler.process.running()
        second.send(wire.message("X"))
        assert pooler.process.wait() == 0
        assert "No client has come for 1s. Shutting down..." in pooler.process.output("out")


def test_it_waits_for_the_first_client_without_limit(postgres):
    with Ending(postgres, exit_when_idle="0s") as pooler:
        for _ in range(4):  # probes are no clients
            socket.create_connection(("127.0.0.1", pooler.port), timeout=30).close()
            time.sleep(0.7)
        assert pooler.process.running()
        w, _, _ = raw.login(pooler)
        w.send(wire.message("X"))
        assert pooler.process.wait() == 0
