"""tests/e2e/lib/socks_proxy.py -- a SOCKS 5 proxy on loopback (RFC 1928, RFC 1929) that remembers its targets."""
import socket
import struct
import threading

from .loopback_server import LoopbackServer


class SocksProxy(LoopbackServer):
    """`routes` maps targets ("name or address") to the address that is really dialled; others are refused.

    With `login` = (user, password) nothing else lets a client in.
    """

    def __init__(self, routes, login=None):
        self.routes = routes
        self.login = login
        self.targets = []  # (host, port) as they were asked for
        super().__init__()

    def _connection(self, client):
        with client:
            try:
                server = self._handshake(client)
                if server is not None:
                    with server:
                        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                        back.start()
                        _pump(client, server)
                        back.join()
            except (OSError, IndexError, struct.error):
                return

    def _handshake(self, client):
        def read(n):
            data = client.recv(n, socket.MSG_WAITALL)
            if len(data) != n:
                raise OSError("half a message")
            return data

        methods = read(read(2)[1])
        wanted = 2 if self.login else 0
        if wanted not in methods:
            client.sendall(b"\5\xff")
            return None
        client.sendall(bytes([5, wanted]))
        if self.login:
            user = read(read(2)[1]).decode()
            password = read(read(1)[0]).decode()
            good = (user, password) == self.login
            client.sendall(b"\1\0" if good else b"\1\1")
            if not good:
                return None
        kind = read(4)[3]
        if kind == 1:
            host = socket.inet_ntoa(read(4))
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, read(16))
        else:
            host = read(read(1)[0]).decode()
        port = struct.unpack("!H", read(2))[0]
        self.targets.append((host, port))
        try:
            server = socket.create_connection((self.routes[host], port), timeout=30)
        except (KeyError, OSError):
            client.sendall(b"\5\5\0\1" + bytes(6))
            return None
        server.settimeout(None)
        client.sendall(b"\5\0\0\1" + bytes(6))
        return server


def _pump(source, to):
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
