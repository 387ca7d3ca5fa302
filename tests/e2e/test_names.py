"""tests/e2e/test_names.py -- instances by domain-scoped name, by DNS name, and what a changed record does."""
import concurrent.futures
import subprocess

import pytest

from lib import paths
from lib.cloud import PRINCIPAL, connect, refusal, service, try_connect, value, works
from lib.emulator import Emulator
from lib.waiting import eventually

OLD = "my-project:us-central1:old"
NEW = "my-project:us-central1:new"
SCOPED = "google.com:my-project:us-central1:scoped"
DB = "db.example.com"
DNS = 'dns_servers = ["{}"]'


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, {OLD: "mode=cas", NEW: "mode=cas", SCOPED: ""}, principal=PRINCIPAL) as running:
        for name in (OLD, NEW):  # the certificate says nothing but this name
            running.instance(name, sans=[DB, "*.wild.example.com", "dotted.example.com."])
        yield running


def by_name(emulator, tmp_path, dns, name=DB, **more):
    return service(emulator, tmp_path, name, server=DNS.format(dns.address), **more)


def open_at(emulator, name):
    return emulator.get("connections").get(name, 0)


def test_domain_scoped_project(emulator, tmp_path):
    with service(emulator, tmp_path, SCOPED) as running:
        assert works(running)
    paths_seen = [r["path"] for r in emulator.requests("connectSettings")]
    assert any("google.com%3Amy-project" in p or "google.com:my-project" in p for p in paths_seen), paths_seen


@pytest.mark.parametrize("name,text", [("a:b:c:d:e", "PROJECT:REGION:INSTANCE"), ("DB.example.com", "DNS name"),
                                       ("nonsense", "PROJECT:REGION:INSTANCE")])
def test_what_is_no_name_is_one_line_at_start(name, text):
    done = subprocess.run([paths.sidepool(), name], capture_output=True, text=True, timeout=60,
                          env={"HOME": "/nonexistent"})
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if name in line]
    assert len(lines) == 1 and text in lines[0], done.stderr


def test_txt_records_the_first_instance_among_them_counts(emulator, tmp_path, dns):
    dns.set(DB, "TXT", "v=spf1 -all", "zz:us-central1:other", OLD, "a:b:c:d:e")
    with by_name(emulator, tmp_path, dns) as running:
        assert works(running)
        assert open_at(emulator, OLD) == 1
        assert running.find(rf"{DB} -> {OLD}")


@pytest.mark.parametrize("alias", ["a.wild.example.com", "dotted.example.com"])
def test_aliases_lead_to_the_record_whose_name_the_certificate_bears(emulator, tmp_path, dns, alias):
    dns.set("one.example.com", "CNAME", "two.example.com")
    dns.set("two.example.com", "CNAME", alias)
    dns.set(alias, "TXT", OLD)
    with by_name(emulator, tmp_path, dns, "one.example.com") as running:
        assert works(running)


def test_a_certificate_without_the_name_is_refused(emulator, tmp_path, dns):
    dns.set("other.example.com", "TXT", OLD)
    with by_name(emulator, tmp_path, dns, "other.example.com") as running:
        fields = refusal(running)
        assert fields["C"] == "08001" and fields["M"].endswith("its certificate was not accepted"), fields
        running.wait_line(r"not valid for .{0,2}other\.example\.com")


def test_addresses_of_the_name_itself_are_dialled(emulator, tmp_path, dns):
    dns.set(DB, "TXT", OLD)
    dns.set(DB, "A", emulator.addresses[OLD])
    emulator.instance(OLD, address="127.0.0.1", listen=[emulator.addresses[OLD]])  # nobody listens there
    with by_name(emulator, tmp_path, dns) as running:
        assert works(running)


def test_googles_own_name_is_resolved_by_the_api(emulator, tmp_path, dns):
    name = "abc123.my-project.us-central1.sql.goog"
    emulator.instance(OLD, dns_names=[{"name": name + ".", "connectionType": "PUBLIC", "dnsScope": "INSTANCE"}],
                      sans=[name + "."])
    with by_name(emulator, tmp_path, dns, name) as running:
        assert works(running)
        assert emulator.count("resolveConnectSettings.ok") == 1
        assert dns.count(name, "TXT") == 0


def test_a_missing_record_is_told_and_one_that_comes_is_found(emulator, tmp_path, dns):
    with by_name(emulator, tmp_path, dns) as running:
        fields = refusal(running)
        assert fields["M"].startswith(f'no DNS record found for "{DB}", lookup of "{DB}". Lookup TXT error: '
                                      f'unable to resolve TXT record for "{DB}": '), fields
        assert "TXT record" in fields["H"]
        assert emulator.count("connectSettings") == 0
        dns.set(DB, "TXT", OLD)
        eventually(lambda: try_connect(running), "it recovers by itself", timeout=60).close()


def test_a_dead_name_server_changes_nothing(emulator, tmp_path, dns):
    dns.set(DB, "TXT", OLD)
    with by_name(emulator, tmp_path, dns) as running:
        c = connect(running)
        pid = value(c, "select pg_backend_pid()")
        for mood in ("servfail", "silent"):
            dns.mood = mood
            running.wait_line("keeps its instance although the lookup failed", timeout=60, after=running.mark())
            assert value(c, "select pg_backend_pid()") == pid
        dns.mood = "normal"
        dns.remove(DB, "TXT")
        running.wait_line("keeps its instance although the lookup failed: no DNS record", timeout=60,
                          after=running.mark())
        assert value(c, "select pg_backend_pid()") == pid
        c.close()


def test_failover_drains_and_nobody_sees_an_error(emulator, tmp_path, dns):
    dns.set(DB, "TXT", OLD)
    with by_name(emulator, tmp_path, dns) as running:
        busy, idle = connect(running), connect(running)
        with busy.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("select pg_backend_pid()")
            pid = cursor.fetchone()[0]
            assert value(idle) == 1
            assert open_at(emulator, OLD) == 2
            dns.set(DB, "TXT", NEW)
            running.wait_line(rf"stands for {NEW} from now on", timeout=60)
            eventually(lambda: open_at(emulator, OLD) == 1, "the idle server of the old instance is closed")
            assert value(idle) == 1
            assert open_at(emulator, NEW) == 1
            cursor.execute("select pg_backend_pid()")
            assert cursor.fetchone()[0] == pid, "a transaction ends where it began"
            assert open_at(emulator, OLD) == 1
            cursor.execute("commit")
        eventually(lambda: open_at(emulator, OLD) == 0, "the last server of the old instance is closed")
        assert value(busy) == 1
        assert works(running), "a new login"
        assert open_at(emulator, OLD) == 0
        busy.close()
        idle.close()


def test_a_login_under_way_during_the_failover_leaves_no_server_behind(emulator, tmp_path, dns):
    dns.set(DB, "TXT", OLD)
    with by_name(emulator, tmp_path, dns, connect="60s") as running:
        assert works(running)
        emulator.side("none", name=OLD, stall=True)
        before = emulator.count("handshake")
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            login = thread.submit(connect, running, database="template1")
            emulator.wait_count("handshake", before + 1)
            dns.set(DB, "TXT", NEW)
            running.wait_line(rf"fetched connection information of {DB} -> {NEW}", timeout=60)
            emulator.side("none", name=OLD, stall=False)
            c = login.result(60)
        assert value(c) == 1
        eventually(lambda: open_at(emulator, OLD) == 0, "nothing of the old instance is kept")
        assert open_at(emulator, NEW) >= 1
        c.close()


def test_the_old_instance_serves_until_the_new_one_can(emulator, tmp_path, dns):
    dns.set(DB, "TXT", OLD)
    emulator.faults("connectSettings", {"status": 403, "reason": "notAuthorized", "times": -1}, name=NEW)
    with by_name(emulator, tmp_path, dns) as running:
        c = connect(running)
        assert value(c) == 1
        dns.set(DB, "TXT", NEW)
        running.wait_line(rf"stands for {NEW} from now on", timeout=60)
        running.wait_line(r"the certificate in use is still valid", timeout=60)
        assert value(c) == 1 and works(running)
        assert open_at(emulator, NEW) == 0
        c.close()
