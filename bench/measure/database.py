"""bench/measure/database.py -- the private PostgreSQL that all contestants serve, and how libpq programs log in."""
import contextlib
import os
import shutil
import subprocess

from lib.certificates import authority
from lib.postgres import HBA, Postgres

USER, PASSWORD, DATABASE, SECOND = "app", "secret", "app", "second"
# Whom PostgreSQL asks nothing: 10,000 logins of it cost the load client no SCRAM.
TRUSTED = "idle"
# The role of the emulator's service account, which logs in with IAM.
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
IAM_USER = "app@my-project.iam"
SETTINGS = {"shared_buffers": "256MB", "max_connections": "400", "wal_level": "minimal", "max_wal_senders": "0",
            "ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
SETUP = f"""
create table bench_copied (line text);
alter table bench_copied set unlogged;
grant all on all tables in schema public to public
"""


def environment(port, user=USER):
    """For libpq programs."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": user,
            "PGPASSWORD": PASSWORD, "PGDATABASE": DATABASE, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


class Database(Postgres):
    """With TLS for whom asks for it; the certificate is checked by nobody."""

    def __init__(self, certificates, port=None):
        self.certificates, self.wanted_port = certificates, port
        super().__init__(settings=SETTINGS, hba=HBA.replace("host all all",
                                                            f"host all {TRUSTED} 127.0.0.1/32 trust\nhost all all", 1))

    def _configure(self, settings, hba):
        self.port = self.wanted_port or self.port
        super()._configure(settings, hba)
        for name in ("server.pem", "server.key"):
            path = os.path.join(self.data, name)
            shutil.copy(os.path.join(self.certificates, name), path)
            self._own(path)
            os.chmod(path, 0o600)

    def fill(self, scale):
        for role, password in ((USER, PASSWORD), (TRUSTED, None), (IAM_USER, None)):
            self.create_role(role, password)
        for name in (DATABASE, SECOND):
            self.sql(f"create database {name} owner {USER}")
            subprocess.run([os.path.join(self.bin_dir, "pgbench"), "-i", "-q", "-s", str(scale), name], check=True,
                           env=environment(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for statement in SETUP.split(";"):
                self.sql(statement, dbname=name)
            self.sql("vacuum analyze", dbname=name)
        self.sql("checkpoint")


@contextlib.contextmanager
def database(scale, port=None):
    with authority("server") as certificates, Database(certificates, port) as postgres:
        postgres.fill(scale)
        yield postgres
