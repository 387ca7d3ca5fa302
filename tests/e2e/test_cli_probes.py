"""tests/e2e/test_cli_probes.py -- bodies and codes of the HTTP listeners (cloudsql.md §7.1 to §7.3)."""
import json

import pytest

from lib import raw
from lib.pooler import application_database
from lib.ports import free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get, wait_status
from lib.waiting import eventually


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


class Service:
    """sidepool by flags in front of `postgres`; raw.login() takes it for a Pooler."""

    def __init__(self, postgres, folder, *args):
        self.port, self.http, self.admin = free_ports(3)
        file = folder / "sidepool.toml"
        file.write_text(f"[[upstream]]\nhosts = [{json.dumps(postgres.tcp)}]\nlisten = \"127.0.0.1:{self.port}\"\n")
        self.process = Proxy(["--config", str(file), "--http-port", str(self.http), "--admin-port", str(self.admin),
                              *args])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


METHODS = ["GET", "POST", "PUT", "DELETE"]


def test_health_check(postgres, tmp_path):
    with Service(postgres, tmp_path, "--health-check") as service:
        for method in METHODS:
            for path in ("/startup", "/readiness", "/liveness"):
                assert http_get(service.http, path, method=method) == (200, "ok"), (method, path)
        assert http_get(service.http, "/metrics")[0] == 404, "it was not asked for"
        assert http_get(service.http, "/quitquitquit", method="POST")[0] == 404, "nothing here changes anything"
        assert http_get(service.http, "/")[0] == 404


def test_prometheus_alone(postgres, tmp_path):
    with Service(postgres, tmp_path, "--prometheus") as service:
        status, body = http_get(service.http, "/metrics")
        assert status == 200 and "sidepool_" in body
        assert http_get(service.http, "/startup")[0] == 404


def test_both_on_one_port(postgres, tmp_path):
    with Service(postgres, tmp_path, "--prometheus", "--health-check") as service:
        assert http_get(service.http, "/metrics")[0] == 200
        assert http_get(service.http, "/readiness") == (200, "ok")


def test_readiness_tells_of_max_connections(postgres, tmp_path):
    with Service(postgres, tmp_path, "--health-check", "--max-connections", "2") as service:
        wait_status(service.http, "/readiness", 200)
        clients = [raw.login(service)[0] for _ in range(2)]
        assert http_get(service.http, "/readiness") == (503, "max connections reached (open = 2, max = 2)")
        service.process.wait_line(r"\[Health Check\] Readiness failed: max connections reached \(open = 2, max = 2\)",
                                  stream="err")
        assert http_get(service.http, "/liveness") == (200, "ok")
        clients[0].sock.close()
        eventually(lambda: http_get(service.http, "/readiness") == (200, "ok"), "a place is free again")


def test_quitquitquit_is_somewhere_else(postgres, tmp_path):
    with Service(postgres, tmp_path, "--quitquitquit", "--health-check") as service:
        assert http_get(service.admin, "/startup")[0] == 404
        for method in ("PUT", "DELETE"):
            assert http_get(service.admin, "/quitquitquit", method=method) == (400, "")
        assert http_get(service.admin, "/quitquitquit", method="POST") == (200, "")
        assert service.process.wait() == 0


def test_a_port_in_use_ends_the_start(postgres, tmp_path):
    with Service(postgres, tmp_path, "--health-check") as service:
        second = tmp_path / "second.toml"
        second.write_text("[[upstream]]\nhosts = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:0\"\n")
        proxy = Proxy(["--config", str(second), "--health-check", "--http-port", str(service.http)], ready=False)
        try:
            assert proxy.wait() == 1
            assert ("The proxy has encountered a terminal error: failed to start HTTP server: listen tcp "
                    f"127.0.0.1:{service.http}: ") in proxy.output("err")
        finally:
            proxy.kill()
