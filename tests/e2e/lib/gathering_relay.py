"""tests/e2e/lib/gathering_relay.py -- a TCP relay that makes several answers of a server arrive in one piece."""
import select
import socket

from .loopback_server import LoopbackServer


class GatheringRelay(LoopbackServer):
    """In front of `port` on loopback: what the server says is passed on once it has been silent for 50 ms."""

    SILENCE = 0.05

    def __init__(self, port):
        self._server_port = port
        super().__init__()
        self.address = f"127.0.0.1:{self.port}"

    def _connection(self, client):
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            gathered = b""
            try:
                while True:
                    readable = select.select([client, server], [], [], self.SILENCE if gathered else None)[0]
                    if not readable:
                        client.sendall(gathered)
                        gathered = b""
                    if client in readable:
                        data = client.recv(65536)
                        if not data:
                            return
                        server.sendall(data)
                    if server in readable:
                        data = server.recv(65536)
                        if not data:
                            client.sendall(gathered)
                            return
                        gathered += data
            except OSError:
                return
