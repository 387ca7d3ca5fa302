"""tests/e2e/lib/wire.py -- PostgreSQL's protocol by hand, over any socket: for what no driver would send."""
import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)


def startup(version=0x00030000, **parameters):
    body = struct.pack("!i", version)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def cancel_request(pid, secret):
    return struct.pack("!iii", 12 + len(secret), 80877102, pid) + secret


def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def query(text):
    return message("Q", text.encode() + b"\0")


def password(text):
    return message("p", text.encode() + b"\0")


def error_fields(body):
    """{"C": sqlstate, "M": message, …} of an ErrorResponse or NoticeResponse."""
    return {field[:1].decode(): field[1:].decode() for field in body.rstrip(b"\0").split(b"\0") if field}


class Wire:
    """Messages over a connected socket (plain or ssl.SSLSocket). EOF raises EOFError."""

    def __init__(self, sock):
        self.sock = sock

    def send(self, data):
        self.sock.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise EOFError(f"end after {len(data)} of {count} bytes")
            data += piece
        return data

    def read(self):
        """(type, body)"""
        head = self.exactly(5)
        return head[:1].decode(), self.exactly(struct.unpack("!i", head[1:])[0] - 4)

    def read_until(self, *kinds):
        """All messages up to and including the first of one of `kinds`."""
        seen = []
        while True:
            seen.append(self.read())
            if seen[-1][0] in kinds:
                return seen

    def login(self, **parameters):
        """Startup of a session that is let in without a password: the messages up to ReadyForQuery."""
        self.send(startup(**parameters))
        messages = self.read_until("Z", "E")
        assert messages[-1][0] == "Z", error_fields(messages[-1][1])
        return messages
