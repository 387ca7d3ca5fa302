"""tests/e2e/lib/cloud.py -- sidepool in front of instances of the emulator, by a configuration file."""
import contextlib
import socket

import psycopg2

from . import wire
from .ports import free_port
from .sidepool import Proxy, metric_values

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"
CONFIG = """
[server]
{server}
[pool]
size = 2
server_connect_timeout = "{connect}"
[[upstream]]
instance = "{instance}"
auto_iam_authn = true
listen = [{listen}]
{upstream}
[metrics]
listen = "127.0.0.1:{http}"
"""


@contextlib.contextmanager
def service(emulator, tmp_path, instance, server="", upstream="", connect="15s", env=None, unix=None):
    """A running sidepool with `port`, `http`, and connect()/refusal() of this module in mind."""
    port, http = free_port(), free_port()
    file = tmp_path / "sidepool.toml"
    listen = f'"127.0.0.1:{port}"' + (f', "unix:{unix}"' if unix else "")
    file.write_text(CONFIG.format(instance=instance, listen=listen, http=http, server=server, upstream=upstream,
                                  connect=connect))
    environment = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "GCE_METADATA_HOST": emulator.host}
    environment.update(env or {})
    with Proxy(["--config", str(file)], env=environment) as running:
        running.port, running.http = port, http
        yield running


def connect(running, host="127.0.0.1", user=ROLE, database="postgres"):
    connection = psycopg2.connect(host=host, port=running.port, user=user, dbname=database)
    connection.autocommit = True
    return connection


def try_connect(running):
    """None if it is refused."""
    try:
        return connect(running)
    except psycopg2.OperationalError:
        return None


def value(connection, text="select 1"):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def works(running):
    """One login and one query, from a client of its own."""
    connection = connect(running)
    try:
        return value(connection) == 1
    finally:
        connection.close()


def refusal(running):
    """The fields of the error that a login ends with."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as sock:
        w = wire.Wire(sock)
        w.send(wire.startup(user=ROLE, database="postgres"))
        kind, body = w.read()
        assert kind == "E", kind
        assert sock.recv(1) == b""
        return wire.error_fields(body)


def servers(running):
    """How many server connections it says it has."""
    return sum(v for name, v in metric_values(running.http).items() if name.startswith("sidepool_servers{"))
