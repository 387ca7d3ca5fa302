"""tests/e2e/lib/loopback_server.py -- what the tests' own TCP servers have in common."""
import socket
import threading


class LoopbackServer:
    """Listens on a free port of 127.0.0.1 from the start; `_connection(client)` of each runs in a thread of its own."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client):
        raise NotImplementedError
