"""bench/measure/idle.py -- clients that are connected and silent, what they cost in resident memory, what they hold."""
import contextlib
import gc
import socket
import ssl
import struct
import time

from lib.wire import startup

from .database import DATABASE, TRUSTED
from .process_cost import private, resident

# Linux has 28,232 ephemeral ports an address, and other runs on the machine use some of them.
ADDRESSES = [f"127.0.0.{n}" for n in range(1, 5)]
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen by connect(), so it need be free for this destination only
SELECT = b"select 1\0"
QUERY = b"Q" + struct.pack("!I", 4 + len(SELECT)) + SELECT
SYNC = b"S" + struct.pack("!I", 4)
LOAD_STATEMENT = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1"  # bench/load/client.cpp
SSL_REQUEST = struct.pack("!II", 8, 80877103)


def _until_ready(sock):
    """Reads to ReadyForQuery, which is the last message of an answer."""
    data = b""
    while not data.endswith(b"Z\0\0\0\5I"):
        more = sock.recv(65536)
        if not more:
            raise RuntimeError(f"the connection ended: {data!r}")
        data += more
        if data[:1] == b"E":
            raise RuntimeError(f"an error instead of ReadyForQuery: {data!r}")


def _unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _login(port, number, context):
    sock = socket.socket()
    sock.settimeout(60)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((ADDRESSES[number % len(ADDRESSES)], 0))
    sock.connect(("127.0.0.1", port))
    if context:
        sock.sendall(SSL_REQUEST)
        if sock.recv(1) != b"S":
            raise RuntimeError("TLS was asked for and refused")
        sock = context.wrap_socket(sock)
    sock.sendall(startup(user=TRUSTED, database=DATABASE, application_name="bench", client_encoding="UTF8"))
    _until_ready(sock)
    return sock


@contextlib.contextmanager
def held(contestant, clients, tls=False):
    """Sockets of that many clients, logged in; closed at the end."""
    context = _unverified() if tls else None
    sockets = []
    try:
        for number in range(clients):
            sockets.append(_login(contestant.port, number, context))
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
        del sockets[:]
        gc.collect()


def _parse(name, text):
    body = name + b"\0" + text + b"\0" + struct.pack("!h", 0)
    return b"P" + struct.pack("!I", 4 + len(body)) + body


@contextlib.contextmanager
def preparing(contestant, statements):
    """Silent clients that have prepared that many different statements, after that of the load client."""
    of_each = 500  # below max_client_statements
    with held(contestant, 1 + (statements - 1) // of_each) as sockets:
        sockets[0].sendall(_parse(b"account", LOAD_STATEMENT) + SYNC)
        _until_ready(sockets[0])
        for number in range(statements):
            sock = sockets[number // of_each]
            sock.sendall(_parse(b"s%d" % number, b"SELECT %d" % number) + SYNC)
            _until_ready(sock)
        yield


def _settled(pid):
    """Resident memory when it no longer moves: programs give memory back with a delay, or not at all."""
    last = private(pid)
    for _ in range(10):
        time.sleep(0.1)
        now = private(pid)
        if now == last:
            break
        last = now
    return last


def measure(contestant, clients, tls=False):
    """Bytes: resident before the first client; private for each that has logged in, and after an answer to it."""
    pid = contestant.pids[0]
    at_rest = resident(pid)
    # The first clients make the pool, its servers and its metrics, which are not theirs alone.
    with held(contestant, 20, tls):
        before = _settled(pid)
        with held(contestant, clients, tls) as sockets:
            idle = _settled(pid)
            for sock in sockets:
                sock.sendall(QUERY)
                _until_ready(sock)
            used = _settled(pid)
    return {"at_rest": at_rest, "idle": (idle - before) / clients, "used": (used - before) / clients,
            "clients": clients}
