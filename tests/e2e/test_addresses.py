"""tests/e2e/test_addresses.py -- which address of an instance is dialled, several of them, and SOCKS proxies."""
import re
import signal

import pytest

from lib.black_hole import black_hole
from lib.cloud import NAME, ROLE, connect, refusal, servers, service, try_connect, value, works
from lib.ports import free_port, loopback_address
from lib.process import Process
from lib.sidepool import Proxy, metric_values
from lib.socks_proxy import SocksProxy
from lib.waiting import eventually


def psc(emulator, *names, listen=()):
    emulator.instance(NAME, psc_enabled=True, listen=list(listen), sans=list(names),
                      dns_names=[{"name": name, "connectionType": "PRIVATE_SERVICE_CONNECT", "dnsScope": "INSTANCE"}
                                 for name in names])


def test_every_type_by_key_and_by_flag(emulator, tmp_path, dns):
    public, private, endpoint = emulator.addresses[NAME], loopback_address(), loopback_address()
    names = ["abc.my-project.us-central1.sql-psc.goog."]
    emulator.instance(NAME, private_address=private)
    psc(emulator, *names, listen=[endpoint])
    dns.set(names[0].rstrip("."), "A", endpoint)
    for kind, flag, mode in (("public", [], None), ("private", ["--private-ip"], None), ("psc", ["--psc"], None),
                             ("auto", ["--auto-ip"], None)):
        with service(emulator, tmp_path, NAME, server=f'dns_servers = ["{dns.address}"]',
                     upstream=f'ip_type = "{kind}"') as running:
            assert works(running), kind
        if kind == "psc":
            continue  # by flag there is no name server of our own
        port = free_port()
        with Proxy([*flag, "--auto-iam-authn", "--port", str(port), NAME],
                   env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url,
                        "GCE_METADATA_HOST": emulator.host}) as running:
            running.port = port
            assert works(running), flag
    emulator.instance(NAME, address="")
    with service(emulator, tmp_path, NAME, upstream='ip_type = "auto"') as running:
        assert works(running), "auto takes the private one if there is no other"
    assert public != private


@pytest.mark.parametrize("kind,shown", [("private", "PRIVATE"), ("psc", "PSC")])
def test_a_type_that_the_instance_lacks(emulator, tmp_path, kind, shown):
    with service(emulator, tmp_path, NAME, upstream=f'ip_type = "{kind}"') as running:
        fields = refusal(running)
        assert fields["M"] == (f'config error: instance does not have IP of type "{shown}" (connection name = '
                               f'"{NAME}"), it has PUBLIC'), fields
        assert "ip_type" in fields["H"]
        if kind == "private":
            emulator.instance(NAME, private_address=loopback_address())
            eventually(lambda: try_connect(running), "an address that it gets is noticed", timeout=60).close()


def test_the_log_names_the_type_and_the_address(emulator, tmp_path):
    with service(emulator, tmp_path, NAME, connect="2s") as running:
        emulator.side("refuse")
        fields = refusal(running)
        assert fields["C"] == "08001" and fields["M"].endswith("it refuses connections") and fields["H"], fields
        running.wait_line(re.escape(f"{emulator.addresses[NAME]}:3307 (public IP of {NAME})"))


def test_a_dead_psc_endpoint_costs_its_share_only(emulator, tmp_path, dns):
    """One that drops SYNs, and alone would take all of the time."""
    dead, alive = loopback_address(), loopback_address()
    names = ["a.my-project.us-central1.sql-psc.goog", "b.my-project.us-central1.sql-psc.goog"]
    psc(emulator, *names, listen=[alive])
    dns.set(names[0], "A", dead)
    dns.set(names[1], "A", alive)
    with black_hole(dead, 3307):
        with service(emulator, tmp_path, NAME, server=f'dns_servers = ["{dns.address}"]', connect="4s",
                     upstream='ip_type = "psc"') as running:
            assert works(running)


def test_an_instance_that_has_moved_is_found_without_an_error(emulator, tmp_path):
    with service(emulator, tmp_path, NAME) as running:
        c = connect(running)
        assert value(c) == 1
        emulator.instance(NAME, address=loopback_address())
        emulator.kill_connections("close")
        eventually(lambda: servers(running) == 0, "the server is gone")
        assert value(c) == 1, "the next transaction waits for the new address"
        c.close()


@pytest.mark.parametrize("mode", ["transaction", "none"])
def test_a_first_login_finds_an_instance_that_has_moved(emulator, tmp_path, mode):
    """Nothing of the client has gone out when the dial fails, so it waits for the new address instead of an error."""
    with service(emulator, tmp_path, NAME, upstream=f'pool.mode = "{mode}"') as running:
        running.wait_line("fetched connection information of")
        emulator.instance(NAME, address=loopback_address())
        assert works(running)
        assert emulator.count("connectSettings.ok") == 2


def test_a_first_login_to_an_instance_that_is_just_away_gets_its_error(emulator, tmp_path):
    with service(emulator, tmp_path, NAME) as running:
        running.wait_line("fetched connection information of")
        emulator.side("refuse")
        assert refusal(running)["M"].endswith("it refuses connections")
        assert emulator.count("connectSettings.ok") == 2, "the addresses were asked for, and are the same"
        failed = [value for name, value in metric_values(running.http).items()
                  if name.startswith("cloudsqlconn_dial_failure_count")]
        assert failed == [1], "and are not dialled again"


def test_a_first_login_does_not_wait_for_settings_beyond_its_time(emulator, tmp_path):
    with service(emulator, tmp_path, NAME, connect="2s") as running:
        running.wait_line("fetched connection information of")
        emulator.faults("connectSettings", {"hold": True})
        emulator.instance(NAME, address=loopback_address())
        assert refusal(running)["M"].endswith("it refuses connections")
        emulator.release("connectSettings")
        eventually(lambda: try_connect(running), "the next one finds it").close()


def socks_env(proxy, login="", **more):
    return {"ALL_PROXY": f"socks5://{login}127.0.0.1:{proxy.port}", **more}


def test_socks_proxy_with_a_password(emulator, tmp_path):
    address = emulator.addresses[NAME]
    with SocksProxy({address: address}, login=("me", "p@ss")) as proxy:
        with service(emulator, tmp_path, NAME, env=socks_env(proxy, "me:p%40ss@")) as running:
            assert works(running)
            assert proxy.targets == [(address, 3307)], "API calls do not go that way"
            assert "p@ss" not in running.output() and "p%40ss" not in running.output()
        with service(emulator, tmp_path, NAME, env=socks_env(proxy, "me:wrong@")) as running:
            fields = refusal(running)
            assert "the proxy on the way" in fields["M"] and "ALL_PROXY" in fields["H"], fields
            running.wait_line("the proxy refused the user or the password")


def test_socks_proxy_gets_the_name_of_a_psc_endpoint(emulator, tmp_path):
    name = "abc.my-project.us-central1.sql-psc.goog"
    psc(emulator, name, listen=[emulator.addresses[NAME]])
    with SocksProxy({name: emulator.addresses[NAME]}) as proxy:
        with service(emulator, tmp_path, NAME, upstream='ip_type = "psc"', env=socks_env(proxy)) as running:
            assert works(running)
            assert proxy.targets == [(name, 3307)]


def test_no_proxy_means_direct(emulator, tmp_path):
    with SocksProxy({}) as proxy:
        with service(emulator, tmp_path, NAME, env=socks_env(proxy, NO_PROXY="10.0.0.0/8,127.0.0.0/8")) as running:
            assert works(running)
            assert proxy.targets == []
        with service(emulator, tmp_path, NAME, env=socks_env(proxy)) as running:
            fields = refusal(running)
            assert "the proxy on the way" in fields["M"], fields
            running.wait_line("the proxy says: connection refused")


def test_a_cancel_goes_through_the_proxy(emulator, postgres, tmp_path):
    """psql, because psycopg2's cancel() holds Python's lock, which the proxy needs."""
    address = emulator.addresses[NAME]
    text = "select pg_sleep(100)"
    with SocksProxy({address: address}) as proxy:
        with service(emulator, tmp_path, NAME, env=socks_env(proxy)) as running:
            client = f"host=127.0.0.1 port={running.port} user={ROLE} dbname=postgres"
            with Process(["/usr/lib/postgresql/15/bin/psql", "-X", "-w", "-c", text, client]) as psql:
                eventually(lambda: postgres.sql("select 1 from pg_stat_activity where state = 'active' and query = %s",
                                                (text,)), "it runs")
                psql.send_signal(signal.SIGINT)
                psql.wait_line("canceling statement due to user request")
            assert proxy.targets == [(address, 3307)] * 2


def test_another_kind_of_proxy_is_said_and_left_out(emulator, tmp_path):
    with service(emulator, tmp_path, NAME, env={"ALL_PROXY": "http://127.0.0.1:1"}) as running:
        running.wait_line("ALL_PROXY is not used: connections to instances go through socks5:// proxies only")
        assert works(running)
