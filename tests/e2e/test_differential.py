"""tests/e2e/test_differential.py -- random scripts get the same answers from sidepool as from PostgreSQL.

SIDEPOOL_DIFFERENTIAL_SEED (1) is the first script's, SIDEPOOL_DIFFERENTIAL_SECONDS looks for more of them that long;
without it there are always the same ones.
"""
import os

import pytest

from lib import paths
from lib.ports import free_port
from lib.postgres import Postgres
from lib.process import Process
from lib.sidepool import Proxy

SECONDS = int(os.environ.get("SIDEPOOL_DIFFERENTIAL_SECONDS", "0"))
COUNT = 300
SEED = os.environ.get("SIDEPOOL_DIFFERENTIAL_SEED", "1")
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
CONFIG = """
[server]
workers = 2
[pool]
size = {size}
[[upstream]]
hosts = ["{postgres}"]
listen = ["127.0.0.1:{port}"]
tls = {{ mode = "disable" }}
"""


@pytest.fixture(scope="module", name="postgres")
def make_postgres():
    with Postgres(hba=HBA) as server:
        server.sql("create role script superuser login")
        for role in ("other_role", "decoy_role"):
            server.sql(f"create role {role}")
        for database in ("direct", "pooled"):
            server.sql(f"create database {database}")
            server.sql("create schema other", dbname=database)
            server.sql("grant usage on schema other to public", dbname=database)
        yield server


@pytest.mark.parametrize("size", [2, 3])
def test_scripts_get_the_same_answers(postgres, tmp_path, size):
    port = free_port()
    file = tmp_path / "sidepool.toml"
    file.write_text(CONFIG.format(size=size, postgres=postgres.tcp, port=port))
    with Proxy(["--config", str(file)]) as proxy:
        with Process([paths.built("tests/e2e/differential/differential"), "--direct", postgres.tcp, "--pooled",
                      f"127.0.0.1:{port}", "--seed", str(int(SEED) + 100_000 * (size - 2)),
                      *(["--seconds", str(max(1, SECONDS // 2))] if SECONDS else ["--count", str(COUNT)])],
                     name="differential") as run:
            code = run.wait(timeout=SECONDS + 600)
        print(run.output())
        assert proxy.running(), proxy.output()
        assert code == 0, run.output()
