"""tests/e2e/lib/raw.py -- connections to a Pooler by hand, and its configuration file replaced under it."""
import contextlib
import os
import socket
import struct

from . import wire
from .pooler import toml_table


def dial(pooler):
    return wire.Wire(socket.create_connection(("127.0.0.1", pooler.port), timeout=30))


def ask(pooler, user="app", dbname="app", **parameters):
    """A connection that has sent its startup packet: (Wire, kind, body of the answer)."""
    w = dial(pooler)
    w.send(wire.startup(user=user, database=dbname, **parameters))
    return (w, *w.read())


def login(pooler, password="secret", **parameters):
    """A session: (Wire, pid, key)."""
    w, kind, body = ask(pooler, **parameters)
    if kind == "R" and body == b"\0\0\0\3":
        w.send(wire.password(password))
        kind, body = w.read()
    assert (kind, body) == ("R", b"\0\0\0\0"), (kind, body)
    messages = w.read_until("Z", "E")
    assert messages[-1][0] == "Z", wire.error_fields(messages[-1][1])
    key = next(body for kind, body in messages if kind == "K")
    return w, struct.unpack("!I", key[:4])[0], key[4:]


def rows(w, text):
    """First columns of a simple query's rows; an error is raised as its fields."""
    w.send(wire.query(text))
    messages = w.read_until("Z")
    errors = [wire.error_fields(body) for kind, body in messages if kind == "E"]
    assert not errors, errors
    return [body[6:6 + struct.unpack("!i", body[2:6])[0]].decode() for kind, body in messages if kind == "D"]


def error_of(w, text):
    """The error a simple query ends with."""
    w.send(wire.query(text))
    return next(wire.error_fields(body) for kind, body in w.read_until("Z", "E") if kind == "E")


def ends(w):
    """Reads to the end of the connection: the messages before it."""
    messages = []
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            messages.append(w.read())
    return messages


def rewrite(pooler, text=None, **tables):
    """Replaces the configuration file at once, as editors and ConfigMaps do: `pool`, `server`, `upstream`."""
    if text is None:
        upstream = {"name": "pg", "hosts": [pooler.postgres.tcp], "listen": [f"127.0.0.1:{pooler.port}"],
                    **tables.get("upstream", {})}
        text = (toml_table("[server]", tables.get("server", {})) + toml_table("[pool]", tables.get("pool", {})) +
                toml_table("[metrics]", {"listen": f"127.0.0.1:{pooler.http_port}"}) +
                toml_table("[[upstream]]", upstream))
    path = os.path.join(pooler.folder, "sidepool.toml")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)
