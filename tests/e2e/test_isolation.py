"""tests/e2e/test_isolation.py -- no client ever reads another's byte; no statement is lost or carried out twice.

SIDEPOOL_ISOLATION_SECONDS says for how long (60); scripts/soak runs the same for hours. SIDEPOOL_ISOLATION_SEED.
"""
import os
import socket

import pytest

from lib import isolation
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import eventually

SECONDS = int(os.environ.get("SIDEPOOL_ISOLATION_SECONDS", "60"))
SEED = int(os.environ.get("SIDEPOOL_ISOLATION_SEED", "1"))
SANITIZED = "SIDEPOOL_SANITIZED" in os.environ  # both sides are slow then: fewer clients
CLIENTS = 100 if SANITIZED else 300
SIZE = 5
CONFIG = """
[server]
workers = 3
max_client_conn = 2000
[pool]
size = {size}
isolation = "{isolation}"
server_backoff_max = "500ms"
[[upstream]]
hosts = ["{postgres}"]
listen = ["127.0.0.1:{port}"]
tls = {{ mode = "disable" }}
[log]
level = "warning"
"""


@pytest.fixture(name="postgres")
def make_postgres():
    with Postgres(hba=isolation.HBA, settings=isolation.SETTINGS) as server:
        isolation.prepare(server)
        yield server


def start(postgres, folder, kind):
    port = free_port()
    file = folder / "sidepool.toml"
    file.write_text(CONFIG.format(size=SIZE, postgres=postgres.tcp, port=port, isolation=kind))
    proxy = Proxy(["--config", str(file)], ready=False)  # at this log level it does not say when it is

    def accepts():
        assert proxy.running(), proxy.output()
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True

    eventually(accepts, "sidepool accepts connections")
    return proxy, port


@pytest.mark.deadline(2 * SECONDS + 180)  # a client may wait 90 s for its last answer before that is a finding
def test_no_client_reads_anothers_bytes(postgres, tmp_path):
    proxy, port = start(postgres, tmp_path, "reset")
    with proxy:
        with isolation.client(postgres, port, CLIENTS, SECONDS, SIZE, least=20 * SECONDS, seed=SEED) as load:
            code = isolation.run_restarting(postgres, load, every=15, rounds=max(0, SECONDS // 15 - 1))
        print(load.output())
        assert proxy.running(), "sidepool has ended:\n" + proxy.output()
        assert code == 0, load.output() + "\n" + "\n".join(proxy.output().splitlines()[-50:])


@pytest.mark.skipif(SANITIZED, reason="it is about the test, and needs many transactions")
@pytest.mark.deadline(200)
def test_the_test_finds_what_leaks(postgres, tmp_path):
    """With isolation = "tracked" a setting made inside a function reaches the next client, as documented."""
    proxy, port = start(postgres, tmp_path, "tracked")
    with proxy:
        with isolation.client(postgres, port, 60, 20, SIZE, least=1) as load:
            assert load.wait(timeout=150) == 1
        assert "FOREIGN" in load.output() or "app.marker at first" in load.output(), load.output()
