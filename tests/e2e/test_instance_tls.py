"""tests/e2e/test_instance_tls.py -- which servers are taken for an instance, rotation, and the metadata exchange."""
import re
import tempfile

import psycopg2
import pytest

from lib.cloud import NAME, connect, refusal, service, value, works
from lib.waiting import eventually

DNS_NAME = "abc.my-project.us-central1.sql.goog."


def public_name(emulator, *sans, **more):
    """An instance with a CA hierarchy of Google's: no common name, a DNS name in the settings."""
    emulator.instance(NAME, cas=True, sans=list(sans),
                      dns_names=[{"name": DNS_NAME, "connectionType": "PUBLIC", "dnsScope": "INSTANCE"}], **more)


@pytest.mark.parametrize("settings", [
    {"bundle": ["leaf"]}, {"bundle": ["root"]}, {"bundle": ["leaf", "root"]},
], ids=["leaf", "root", "both"])
def test_every_certificate_of_the_bundle_is_an_anchor(emulator, tmp_path, settings):
    emulator.instance(NAME, **settings)
    with service(emulator, tmp_path, NAME) as running:
        assert works(running)


def test_an_intermediate_alone_is_enough(emulator, tmp_path):
    public_name(emulator, DNS_NAME, bundle=["intermediate"])
    with service(emulator, tmp_path, NAME) as running:
        assert works(running)


@pytest.mark.parametrize("san", [DNS_NAME, DNS_NAME.rstrip("."), "*.my-project.us-central1.sql.goog.",
                                 DNS_NAME.upper()], ids=["dot", "no_dot", "wildcard", "upper"])
def test_names_that_fit(emulator, tmp_path, san):
    public_name(emulator, "other.example.com", san)
    with service(emulator, tmp_path, NAME) as running:
        assert works(running)


@pytest.mark.parametrize("san", ["other.example.com", "*.us-central1.sql.goog", "abc.my-project.us-central1.sql.goog.x"])
def test_names_that_do_not_fit(emulator, tmp_path, san):
    public_name(emulator, san)
    with service(emulator, tmp_path, NAME) as running:
        fields = refusal(running)
        assert fields["C"] == "08001" and fields["M"].endswith("its certificate was not accepted"), fields
        running.wait_line(rf"not valid for .{{0,2}}{re.escape(DNS_NAME)}")


@pytest.mark.parametrize("settings,text", [
    ({"server_cert": "wrong_name"}, "certificate had CN .{0,2}another-project:another-instance"),
    ({"server_cert": "wrong_ca"}, "failed to verify certificate"),
    ({"server_cert": "expired"}, "failed to verify certificate: certificate has expired"),
    ({"tls": "1.2"}, "TLS with"),
], ids=["wrong_name", "wrong_ca", "expired", "tls_1_2"])
def test_wrong_servers_are_refused_and_right_ones_taken_again(emulator, tmp_path, settings, text):
    emulator.instance(NAME, **settings)
    with service(emulator, tmp_path, NAME) as running:
        fields = refusal(running)
        assert fields["C"] == "08001" and fields["M"].startswith("cannot connect to the database: "), fields
        running.wait_line(text)
        assert emulator.count("login") == 0, "nothing was told to the wrong server"
        emulator.instance(NAME, server_cert="normal", tls="1.3")
        eventually(lambda: try_works(running), "it recovers by itself")


def try_works(running):
    try:
        return works(running)
    except psycopg2.OperationalError:
        return False


@pytest.mark.parametrize("keep_old", [True, False])
@pytest.mark.parametrize("what", ["server_ca", "client_ca"])
def test_rotation_is_followed(emulator, tmp_path, what, keep_old):
    with service(emulator, tmp_path, NAME) as running:
        c = connect(running)
        assert value(c) == 1
        emulator.rotate(NAME, what, keep_old=keep_old)
        assert value(c) == 1, "what is connected stays"
        emulator.kill_connections("close")
        eventually(lambda: try_works(running), "new connections come up again")
        eventually(lambda: try_value(c), "the client is still there")
        c.close()


def try_value(connection):
    try:
        return value(connection) == 1
    except psycopg2.Error:
        assert not connection.closed, "a client lost its connection"
        return False


@pytest.mark.parametrize("reply", ["none", "ok", "error"])
def test_metadata_exchange_by_listener_and_answer(emulator, tmp_path, reply):
    emulator.instance(NAME, mdx_reply=reply)
    with (tempfile.TemporaryDirectory(prefix="sp-") as folder,  # short: a socket's path has 107 bytes at most
          service(emulator, tmp_path, NAME, upstream='pool.mode = "none"', unix=folder) as running):
        assert works(running)
        assert emulator.logins()[-1]["mdx"] == "tcp"
        running_port, running.port = running.port, 5432
        c = connect(running, host=f"{folder}/{NAME}")
        assert value(c, "select repeat('x', 100000)") == "x" * 100000
        c.close()
        running.port = running_port
        assert emulator.logins()[-1]["mdx"] == "uds"


def test_no_metadata_exchange_with_an_instance_that_does_not_offer_it(emulator, tmp_path):
    emulator.instance(NAME, mdx=[])
    with service(emulator, tmp_path, NAME) as running:
        assert works(running)
        assert emulator.logins()[-1]["mdx"] == ""


def test_a_warning_for_a_refused_metadata_exchange(emulator, tmp_path):
    emulator.instance(NAME, mdx_reply="error")
    with service(emulator, tmp_path, NAME) as running:
        assert works(running)
        running.wait_line("the instance refused the metadata exchange")
