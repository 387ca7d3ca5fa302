"""tests/e2e/lib/name_server.py -- a DNS server on a loopback port, UDP and TCP, whose zone a test writes."""
import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "TXT": 16, "AAAA": 28}


def _encoded(name):
    labels = [label.encode() for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _data(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "CNAME":
        return _encoded(value)
    raw = value.encode()
    parts = [raw[i:i + 255] for i in range(0, len(raw), 255)] or [b""]
    return b"".join(bytes([len(part)]) + part for part in parts)


class NameServer:
    """`set("db.example.com", "TXT", "p:r:i")`; `mood`: "normal", "silent" or "servfail". Threads of its own."""

    def __init__(self):
        self._zone = {}
        self._lock = threading.Lock()
        self._counts = {}
        self.mood = "normal"
        self.ttl = 5
        while True:
            self._tcp = socket.socket()
            self._tcp.bind(("127.0.0.1", 0))
            self._udp = socket.socket(type=socket.SOCK_DGRAM)
            try:
                self._udp.bind(self._tcp.getsockname())
                break
            except OSError:
                self._tcp.close()
                self._udp.close()
        self._tcp.listen()
        host, port = self._udp.getsockname()
        self.address = f"{host}:{port}"
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def set(self, name, kind, *values):
        with self._lock:
            self._zone[name, TYPES[kind]] = [_data(kind, value) for value in values]

    def remove(self, name, kind):
        with self._lock:
            self._zone.pop((name, TYPES[kind]), None)

    def count(self, name, kind):
        """Questions so far."""
        with self._lock:
            return self._counts.get((name, TYPES[kind]), 0)

    def close(self):
        self._udp.close()
        self._tcp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve_udp(self):
        while True:
            try:
                question, peer = self._udp.recvfrom(4096)
                answer = self._answer(question, 512)
                if answer:
                    self._udp.sendto(answer, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(2, socket.MSG_WAITALL)
                if len(head) == 2:
                    answer = self._answer(connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), 65535)
                    if answer:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, question, most):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1").lower())
            at += question[at] + 1
        name, kind = ".".join(labels), struct.unpack("!H", question[at + 1:at + 3])[0]
        asked = question[12:at + 5]
        with self._lock:
            self._counts[name, kind] = self._counts.get((name, kind), 0) + 1
            values = self._zone.get((name, kind), [])
            exists = any(known == name for known, _ in self._zone)
        if self.mood == "silent":
            return b""
        code = 2 if self.mood == "servfail" else 0 if exists else 3
        records = [] if code else values
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(data)) + data for data in records)
        truncated = 12 + len(asked) + len(body) > most
        flags = 0x8180 | (0x0200 if truncated else 0) | code
        head = question[:2] + struct.pack("!HHHHH", flags, 1, 0 if truncated else len(records), 0, 0)
        return head + asked + (b"" if truncated else body)
