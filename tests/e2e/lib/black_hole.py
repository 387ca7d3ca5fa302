"""tests/e2e/lib/black_hole.py -- an address that does not answer."""
import contextlib
import socket


@contextlib.contextmanager
def black_hole(address, port):
    """A listener whose backlog is full: Linux drops further SYNs, as a firewall does."""
    with socket.socket() as listener:
        listener.bind((address, port))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex((address, port))
                waiting.append(one)
            yield
        finally:
            for one in waiting:
                one.close()
