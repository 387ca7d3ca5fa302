"""tests/e2e/test_readiness_deep.py -- /readiness?deep=1: what only a connection can tell, without a connection per probe."""
import concurrent.futures

import pytest

from lib.emulator import Emulator
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


def shallow(port):
    return http_get(port, "/readiness")


def deep(port, path="/readiness?deep=1"):
    return http_get(port, path)


def test_an_instance_that_cannot_be_reached(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as emulator:
        port, http = free_ports(2)
        with Proxy(["--port", str(port), "--health-check", "--http-port", str(http), NAME],
                   env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "GCE_METADATA_HOST": emulator.host}):
            eventually(lambda: shallow(http) == (200, "ok"), "it has started")
            assert emulator.count("accepted") == 0, "a probe dials nobody"
            assert eventually(lambda: deep(http) == (200, "ok"), "the instance is reached")
            tests = emulator.count("accepted")
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                assert set(pool.map(lambda _: deep(http), range(40))) == {(200, "ok")}
            assert emulator.count("accepted") <= tests + 1, "a result serves all that ask within 5 s"

            emulator.side("refuse")
            status, body = eventually(lambda: found if (found := deep(http))[0] == 503 else None, "it is noticed")
            assert "Connection refused" in body and NAME in body, body
            assert shallow(http) == (200, "ok")
            assert deep(http, "/readiness?x=deep=1") == (200, "ok"), "another parameter"
            emulator.side("alert_bad_certificate")
            eventually(lambda: "handshake" in deep(http)[1], "a certificate that is refused behind the handshake")
            emulator.side("none")
            eventually(lambda: deep(http) == (200, "ok"), "it is back")
            assert emulator.count("login") == 0, "nobody has logged in"


def test_one_host_of_two_upstreams(postgres, tmp_path):
    good, bad, http = free_ports(3)
    closed = free_port()
    file = tmp_path / "sidepool.toml"
    file.write_text(f"""
[[upstream]]
name = "good"
hosts = ["{postgres.tcp}"]
listen = "127.0.0.1:{good}"
[[upstream]]
name = "bad"
hosts = ["127.0.0.1:{closed}"]
listen = "127.0.0.1:{bad}"
""")
    with Proxy(["--config", str(file), "--health-check", "--http-port", str(http)]):
        assert shallow(http) == (200, "ok")
        status, body = eventually(lambda: found if "tested" not in (found := deep(http))[1] else None, "it is tested")
        assert status == 503 and body.startswith("[bad] ") and f":{closed}" in body and "good" not in body, body
