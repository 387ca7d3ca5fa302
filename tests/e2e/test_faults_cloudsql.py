"""tests/e2e/test_faults_cloudsql.py -- the instance, its API or its certificates fail: what clients see (product.md §6)."""
import concurrent.futures

import pytest

from lib.cloud import NAME, connect, refusal, servers, service, try_connect, value
from lib.sidepool import metric_values
from lib.waiting import eventually


def test_api_refuses(emulator, tmp_path):
    emulator.faults("connectSettings", {"status": 403, "reason": "notAuthorized", "message": "no right", "times": -1})
    with service(emulator, tmp_path, NAME) as running:
        fields = refusal(running)
        assert fields["C"] == "28000" and fields["S"] == "FATAL"
        assert "notAuthorized" in str(fields) or "no right" in str(fields), fields
        assert "H" in fields, "there is a remedy"
        emulator.clear_faults()
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


def test_api_answers_500_for_a_while(emulator, tmp_path):
    emulator.faults("connectSettings", {"status": 500, "times": 2})
    with service(emulator, tmp_path, NAME) as running:
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


@pytest.mark.parametrize("mode", ["refuse", "hang", "reset_before_handshake", "reset_after_handshake",
                                  "close_after_handshake", "hang_after_handshake", "alert_certificate_expired"])
def test_instance_cannot_be_reached(emulator, tmp_path, mode):
    with service(emulator, tmp_path, NAME, connect="2s") as running:
        emulator.side(mode)
        fields = refusal(running)
        assert fields["C"] in ("08001", "28000") and fields["S"] == "FATAL" and fields["M"], fields
        emulator.side("none")
        c = eventually(lambda: try_connect(running), "it recovers by itself")
        assert value(c) == 1
        c.close()


@pytest.mark.parametrize("how", ["close", "close_notify", "reset"])
def test_failover_is_only_a_delay_for_idle_clients(emulator, tmp_path, how):
    with service(emulator, tmp_path, NAME) as running:
        clients = [connect(running) for _ in range(5)]
        for c in clients:
            assert value(c) == 1
        emulator.side("refuse")
        assert emulator.kill_connections(how) >= 1
        eventually(lambda: servers(running) == 0, "the servers are gone")
        with concurrent.futures.ThreadPoolExecutor(5) as threads:
            answers = [threads.submit(value, c, "select 2") for c in clients]
            eventually(lambda: any(v >= 1 for name, v in metric_values(running.http).items()
                                   if name.startswith("sidepool_server_login_failures_total")), "a dial has failed")
            emulator.side("none")
            assert [a.result(60) for a in answers] == [2] * 5
        for c in clients:
            c.close()


def test_certificate_that_is_refused_is_replaced_before_anybody_hears_of_it(emulator, tmp_path):
    with service(emulator, tmp_path, NAME) as running:
        before = emulator.count("generateEphemeralCert.ok")
        eventually(lambda: emulator.count("generateEphemeralCert.ok") >= 1, "a certificate is there")
        emulator.side("alert_certificate_expired", times=1)
        c = connect(running)
        assert value(c) == 1
        assert emulator.count("generateEphemeralCert.ok") > before
        c.close()


def test_stalled_instance_stops_nobody_but_its_users(emulator, tmp_path):
    """A client that gives up in the middle leaves no server behind that another could get."""
    with service(emulator, tmp_path, NAME) as running:
        c = connect(running)
        assert value(c) == 1
        emulator.side("none", stall=True)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            answer = thread.submit(value, c, "select 'mine'")
            eventually(lambda: any('state="active"' in name and v == 1 for name, v in metric_values(running.http).items()
                                   if name.startswith("sidepool_clients{")), "it is on its way")
            emulator.side("none", stall=False)
            assert answer.result(60) == "mine"
        c.close()
