"""tests/e2e/test_hostile.py -- strangers who hold, break off and flood, and the others who must not notice."""
import contextlib
import os
import select
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from lib import paths, raw, wire
from lib.pooler import Pooler, application_database
from lib.ports import free_port
from lib.postgres import Postgres
from lib.process import Process
from lib.sidepool import Proxy
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


@pytest.fixture(scope="module")
def encrypted(postgres, tmp_path_factory):
    """A Pooler whose listener offers TLS."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    with Pooler(postgres, tables={"upstream.listen_tls": {"mode": "allow", "cert_file": cert, "key_file": key}}) as it:
        yield it


def everything_is_read(client):
    """Whether the other side, on this machine, has taken every byte that was sent."""
    here, there = client.sock.getsockname()[1], client.sock.getpeername()[1]
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            _, local, remote, _, queues = line.split()[:5]
            if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (there, here):
                return int(queues.split(":")[1], 16) == 0
    return False


def begin_tls(client):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    return wire.Wire(context.wrap_socket(client.sock))


def test_tls_begins_with_the_first_byte_or_not_at_all(encrypted):
    """Plain bytes in front of somebody's TLS could have been put there; and 0x16 may be part of a length."""
    client = begin_tls(raw.dial(encrypted))
    client.send(wire.startup(user="app", database="app"))
    assert client.read() == ASKED, "direct TLS is understood"

    packet = wire.startup(user="appabcd")
    assert packet[:4] == b"\0\0\0\x16"
    client = raw.dial(encrypted)
    client.send(packet[:3])
    eventually(lambda: everything_is_read(client), "the first bytes are read")
    client.send(packet[3:])
    assert client.read() == ASKED

    client = raw.dial(encrypted)
    client.send(wire.GSSENC_REQUEST)
    assert client.exactly(1) == b"N"
    with pytest.raises(OSError):
        begin_tls(client)

    client = raw.dial(encrypted)
    client.send(wire.startup(user="app", database="app")[:10])
    eventually(lambda: everything_is_read(client), "the first bytes are read")
    with pytest.raises(OSError):
        begin_tls(client)


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


def errors_of(clients, count):
    """The first errors, at least `count`, that any of the clients get. Workers take clients side by side: the order is open."""
    errors = []
    while len(errors) < count:
        readable = select.select([w.sock for w in clients], [], [], 30)[0]
        assert readable, f"only {len(errors)} have got an error"
        for w in [w for w in clients if w.sock in readable]:
            kind, body = w.read()
            if kind == "E":
                errors.append(wire.error_fields(body))
                clients = [other for other in clients if other is not w]
    return errors


@pytest.mark.parametrize("some", [b"", b"p", b"p\0\0\0\x40SCRAM"], ids=["nothing", "a byte", "a beginning"])
def test_pass_through_clients_that_never_answer_make_way(postgres, some):
    """They hold no password and no server: others log in meanwhile, more than there are servers."""
    with Pooler(postgres, {"mode": "none", "size": 2}, {"client_login_timeout": "100s"}) as pooler:
        held = []
        for _ in range(10):
            held.append(raw.dial(pooler))
            held[-1].send(wire.startup(user="nobody", database="app"))
        for w in held[:2]:
            assert w.read()[0] == "R"
            w.send(some)
        for _ in range(3):
            with contextlib.closing(pooler.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("select 1")
        assert {fields["C"] for fields in errors_of(held, 8)} == {"53300"}


def test_without_memory_new_clients_are_refused_and_the_others_go_on(postgres, tmp_path):
    port = free_port()
    config = tmp_path / "sidepool.toml"
    config.write_text(f'[server]\nworkers = 1\n[[upstream]]\nhosts = ["{postgres.tcp}"]\n'
                      f'listen = ["127.0.0.1:{port}"]\n', encoding="utf-8")
    with Proxy(["--config", config]) as proxy, open(f"/proc/{proxy.pid}/status", encoding="ascii") as status:
        size = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
    limited = ["bash", "-c", f"ulimit -v {size + 12000}; exec {paths.sidepool()} --config {config}"]
    statement = b"select '" + b"x" * 60000 + b"'\0\0\0"
    clients = []
    with Process(limited, name="sidepool") as process:
        process.wait_line("ready for new connections")
        for number in range(5000):
            w = wire.Wire(socket.create_connection(("127.0.0.1", port), timeout=30))
            w.send(wire.startup(user="app", database="app"))
            kind, body = w.read()
            if kind == "E":
                assert wire.error_fields(body)["C"] == "53200"
                break
            w.send(wire.password("secret"))
            w.read_until("Z")
            w.send(wire.message("P", b"s%d\0" % number + statement) + wire.message("S"))
            assert w.read_until("Z", "E")[-1][0] == "Z"
            clients.append(w)
        else:
            raise AssertionError("the memory was enough")
        process.wait_line("out of memory: new clients are refused")
        assert raw.rows(clients[0], "select 1") == ["1"]
        for w in clients:
            w.sock.close()


def test_too_few_files_for_max_client_conn_are_told_at_the_start(postgres, tmp_path):
    config = tmp_path / "sidepool.toml"
    config.write_text(f'[[upstream]]\nhosts = ["{postgres.tcp}"]\nlisten = ["127.0.0.1:{free_port()}"]\n', encoding="utf-8")
    with Process(["prlimit", "--nofile=200:200", paths.sidepool(), "--config", config]) as process:
        process.wait_line(r"max_client_conn is 1000 and .* but only 200 files: .*\(ulimit -n, LimitNOFILE=\) to \d+")
