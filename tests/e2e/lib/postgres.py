"""tests/e2e/lib/postgres.py -- a private PostgreSQL cluster in a temporary folder; the system's own is never touched."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import psycopg2

from .ports import free_port
from .process import Process, user_group
from .waiting import eventually

DEBIAN_BIN = "/usr/lib/postgresql/15/bin"
# A local login needs no password: the test and, for IAM principals, the emulator connect there. Over TCP everybody
# proves a password.
HBA = """local all all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
    "max_connections": "300", "shared_buffers": "64MB", "wal_level": "logical", "max_wal_senders": "10",
    "password_encryption": "scram-sha-256", "log_line_prefix": "%m [%p] %u@%d ", "autovacuum": "off",
}


def unprivileged_user():
    """PostgreSQL refuses to run as root; whom to be instead, None: who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
            return name
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is no user to run PostgreSQL as")


class Postgres:
    """A running server. `bin_dir` chooses the version; `settings` overrides postgresql.conf, `hba` pg_hba.conf."""

    def __init__(self, bin_dir=None, settings=None, hba=HBA):
        self.bin_dir = bin_dir or os.environ.get("SIDEPOOL_PG_BIN") or DEBIAN_BIN
        self.user = unprivileged_user()
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="sp-pg-")
        self.data = os.path.join(self.folder, "data")
        self.socket_dir = self.folder
        self.process = None
        try:
            self._own(self.folder)
            self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
                      "--no-sync")
            self._configure({**SETTINGS, **(settings or {})}, hba)
            self.start()
        except BaseException:
            self.close()
            raise

    def _own(self, path):
        if self.user:
            os.chown(path, pwd.getpwnam(self.user).pw_uid, user_group(self.user))
            os.chmod(path, 0o755)

    def _run(self, program, *arguments):
        identity = {"user": self.user, "group": user_group(self.user), "extra_groups": []} if self.user else {}
        done = subprocess.run([os.path.join(self.bin_dir, program), *arguments], env=self._environment(),
                              cwd=self.folder, capture_output=True, text=True, check=False, **identity)
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"

    @staticmethod
    def _environment():
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}

    def _configure(self, settings, hba):
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write(f"\nport = {self.port}\nunix_socket_directories = '{self.socket_dir}'\n")
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as conf:
            conf.write(hba)

    def start(self):
        self.process = Process([os.path.join(self.bin_dir, "postgres"), "-D", self.data], env=self._environment(),
                               cwd=self.folder, user=self.user, name="postgres")
        pid_file = os.path.join(self.data, "postmaster.pid")

        def ready():
            if not self.process.running():
                raise RuntimeError(f"postgres did not start:\n{self.process.output()}")
            with open(pid_file, encoding="ascii") as lines:
                content = lines.read().splitlines()
            return len(content) >= 8 and content[0] == str(self.process.pid) and content[7].strip() == "ready"

        eventually(ready, "PostgreSQL accepts connections", 60)

    def stop(self, mode=signal.SIGINT):
        """SIGINT: fast shutdown, clients are told; SIGQUIT: immediate; SIGTERM: waits for clients."""
        if self.process and self.process.running():
            self.process.send_signal(mode)
            self.process.wait(60)

    def restart(self, mode=signal.SIGINT):
        self.stop(mode)
        self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def close(self):
        if self.process:
            try:
                self.stop()
            finally:
                self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self, user="postgres", dbname="postgres", **more):
        """A psycopg2 connection by the trusted unix socket, autocommit."""
        connection = psycopg2.connect(host=self.socket_dir, port=self.port, user=user, dbname=dbname, **more)
        connection.autocommit = True
        return connection

    def sql(self, text, parameters=None, dbname="postgres"):
        """Runs one command as superuser; the rows, or None."""
        connection = self.connect(dbname=dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, parameters)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def create_role(self, name, password=None, options="login"):
        quoted = '"' + name.replace('"', '""') + '"'
        self.sql(f"create role {quoted} {options}" + (" password %s" if password is not None else ""),
                 (password,) if password is not None else None)

    def version(self):
        return int(self.sql("show server_version_num")[0][0]) // 10000

    @property
    def tcp(self):
        """For the emulator's --postgres."""
        return f"127.0.0.1:{self.port}"

    @property
    def trust(self):
        """For the emulator's --postgres-trust."""
        return f"unix:{self.socket_dir}:{self.port}"
