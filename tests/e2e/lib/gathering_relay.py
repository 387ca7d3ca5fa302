"""tests/e2e/lib/gathering_relay.py -- a TCP relay that makes several answers of a server arrive in one piece."""
import select
import socket
import threading


class GatheringRelay:
    """In front of `port` on loopback: what the server says is passed on once it has been silent for 50 ms."""

    SILENCE = 0.05

    def __init__(self, port):
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

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
