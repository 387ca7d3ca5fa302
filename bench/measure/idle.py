"""bench/measure/idle.py -- what clients that are connected and silent cost in resident memory."""
import gc
import socket
import struct
import time
from dataclasses import dataclass

from lib.wire import startup

from .contestants import DATABASE, TRUSTED
from .process_cost import private, resident

# Linux has 28,232 ephemeral ports an address, and other runs on the machine use some of them.
ADDRESSES = [f"127.0.0.{n}" for n in range(1, 5)]
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen by connect(), so it need be free for this destination only
SELECT = b"select 1\0"
QUERY = b"Q" + struct.pack("!I", 4 + len(SELECT)) + SELECT


@dataclass
class Memory:
    """Bytes."""
    at_rest: int        # resident, ready, before the first client
    per_client: float   # logged in, and nothing else
    per_used: float     # ... after one query each, which is answered
    clients: int


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


def _login(port, number):
    sock = socket.socket()
    sock.settimeout(60)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((ADDRESSES[number % len(ADDRESSES)], 0))
    sock.connect(("127.0.0.1", port))
    sock.sendall(startup(user=TRUSTED, database=DATABASE, application_name="bench", client_encoding="UTF8"))
    _until_ready(sock)
    return sock


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


def measure(contestant, clients):
    at_rest = resident(contestant.pid)
    sockets = []
    try:
        # The first clients make the pool, its servers and its metrics, which are not theirs alone.
        for number in range(20):
            sockets.append(_login(contestant.port, number))
        before = _settled(contestant.pid)
        for number in range(clients):
            sockets.append(_login(contestant.port, number))
        idle = _settled(contestant.pid)
        for sock in sockets:
            sock.sendall(QUERY)
            _until_ready(sock)
        used = _settled(contestant.pid)
    finally:
        for sock in sockets:
            sock.close()
        gc.collect()
    return Memory(at_rest=at_rest, per_client=(idle - before) / clients, per_used=(used - before) / clients,
                  clients=clients)
