"""tests/e2e/test_hostile.py -- strangers who hold, break off and flood, and the others who must not notice."""
import contextlib
import os
import signal
import socket
import struct

import pytest

from lib import raw, wire
from lib.pooler import Pooler, application_database
from lib.postgres import Postgres
from lib.waiting import eventually

ASKED = ("R", b"\0\0\0\3")  # AuthenticationCleartextPassword


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield application_database(server)


@contextlib.contextmanager
def stopped(pooler):
    """What is sent meanwhile, and the end of the connection, reach sidepool as one event."""
    os.kill(pooler.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pooler.process.pid, signal.SIGCONT)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_client_that_is_reset_inside_its_login_leaves_nothing(postgres):
    """Its last bytes and the reset come together: libuv then watches the socket no more."""
    startup = wire.startup(user="app", database="app")
    with Pooler(postgres, server={"client_login_timeout": "100s"}) as pooler:
        raw.login(pooler)[0].sock.close()
        asked = []
        for _ in range(10):
            asked.append(raw.dial(pooler))
            asked[-1].send(startup)
            assert asked[-1].read() == ASKED
        with stopped(pooler):
            for client in asked:
                client.send(wire.password("secret")[:7])
                reset(client.sock)
            for _ in range(10):
                client = raw.dial(pooler)
                client.send(startup[:9])
                reset(client.sock)
        eventually(lambda: pooler.total("sidepool_clients_connected") == 0, "all of them have left")


def test_pass_through_clients_that_never_answer_make_way(postgres):
    """They hold no password and no server: others log in meanwhile, more than there are servers."""
    with Pooler(postgres, {"mode": "none", "size": 2}, {"client_login_timeout": "100s"}) as pooler:
        held = []
        for _ in range(10):
            held.append(raw.dial(pooler))
            held[-1].send(wire.startup(user="nobody", database="app"))
        for _ in range(3):
            with contextlib.closing(pooler.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("select 1")
        errors = [wire.error_fields(body)["C"] for w in held[:8] for kind, body in raw.ends(w) if kind == "E"]
        assert errors == ["53300"] * 8
