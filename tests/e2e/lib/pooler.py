"""tests/e2e/lib/pooler.py -- sidepool with a TOML file in front of a PostgreSQL, and what the tests ask of the two."""
import json
import os
import shutil
import tempfile

import psycopg2

from .ports import free_ports
from .sidepool import Proxy, metric_values


def toml_table(name, values):
    """`[name]` with values that JSON and TOML write alike: strings, numbers, booleans, lists of them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([name, *lines]) + "\n\n"


class Pooler:
    """A running sidepool whose upstream is `postgres`, or None and `upstream` names its hosts; further keys of the tables [pool], [server], [[upstream]].

    `environment` holds what libpq needs to get there as `user`, for programs that are started.
    """

    def __init__(self, postgres, pool=None, server=None, upstream=None, tables=None, user="app", password="secret",
                 dbname="app", binary=None):
        self.postgres = postgres
        self.user, self.password, self.dbname = user, password, dbname
        self.port, self.http_port = free_ports(2)
        self.folder = tempfile.mkdtemp(prefix="sp-toml-")
        config = os.path.join(self.folder, "sidepool.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(toml_table("[server]", server or {}))
            file.write(toml_table("[pool]", pool or {}))
            file.write(toml_table("[metrics]", {"listen": f"127.0.0.1:{self.http_port}"}))
            hosts = {"hosts": [postgres.tcp]} if postgres else {}
            file.write(toml_table("[[upstream]]", {"name": "pg", **hosts, "listen": [f"127.0.0.1:{self.port}"],
                                                   **(upstream or {})}))
            for name, values in (tables or {}).items():
                file.write(toml_table(f"[{name}]", values))
        try:
            self.process = Proxy(["--config", config], binary=binary, name="sidepool")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self):
        """A sanitizer's findings show in the exit code, so it counts: 143 is what SIGTERM asks for."""
        try:
            if self.process.running():
                code = self.process.stop()
                assert code in (0, 143), f"sidepool ended with {code}:\n{self.process.output('err')}"
            else:
                raise AssertionError(f"sidepool ended by itself, {self.process.wait()}:\n{self.process.output()}")
        finally:
            self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def login(self):
        """Where and who, as psycopg2 and psycopg take it."""
        return {"host": "127.0.0.1", "port": self.port, "user": self.user, "password": self.password,
                "dbname": self.dbname}

    @property
    def environment(self):
        return libpq_environment(self.login)

    def connect(self, **more):
        return psycopg2.connect(**{**self.login, "connect_timeout": 30, **more})

    def metrics(self, prefix):
        """{labels: value} of the samples of one name; the sum of them is often what one wants."""
        return {name: value for name, value in metric_values(self.http_port).items()
                if name == prefix or name.startswith(prefix + "{")}

    def total(self, name, *labels):
        """Sum of the samples of `name` whose labels contain all of `labels`, each as `key="value"`."""
        return sum(value for sample, value in self.metrics(name).items() if all(label in sample for label in labels))


def libpq_environment(login):
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    return {names[key]: str(value) for key, value in login.items()}


def application_database(postgres):
    """The role `app` (password `secret`) and its database `app`."""
    postgres.create_role("app", "secret")
    postgres.sql("create database app owner app")
    return postgres
