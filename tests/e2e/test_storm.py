"""tests/e2e/test_storm.py -- what the Admin API sees of many clients, of many processes, and of failures."""
import concurrent.futures
import contextlib
import json
import socket
import time

import psycopg2
import pytest

from lib import peers, wire
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, Emulator
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get, metric_values
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"
ATTEMPTS, STORM = 1000, 10.0  # clients, seconds
FLEET = 50
PATHS = ("connectSettings", "generateEphemeralCert")
REFUSAL = {"status": 403, "reason": "notAuthorized", "message": "The client is not authorized.", "times": -1}


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role(ROLE)
        server.create_role("alice", "secret")
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


@contextlib.contextmanager
def service(emulator, folder, upstream="", server="", mode="transaction"):
    port, http = free_ports(2)
    file = folder / "sidepool.toml"
    file.write_text(f"""
[server]
{server}
[pool]
mode = "{mode}"
[[upstream]]
instance = "{NAME}"
auto_iam_authn = true
listen = ["127.0.0.1:{port}"]
{upstream}
[metrics]
listen = "127.0.0.1:{http}"
""")
    with Proxy(["--config", str(file)], env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url,
                                             "GCE_METADATA_HOST": emulator.host}) as running:
        running.port, running.http = port, http
        yield running


def calls(emulator):
    counts = emulator.counts()
    return sum(counts.get(path, 0) for path in PATHS)


def attempt(port, user=ROLE):
    """The fields of the error a login ends with, "" if it ends without a word, None if it succeeds."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        w = wire.Wire(sock)
        try:
            w.send(wire.startup(user=user, database="postgres"))
            kind, body = w.read()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return ""
        return wire.error_fields(body) if kind == "E" else None


def storm(port):
    """1000 clients in 10 s: what each was told."""
    began = time.monotonic()

    def one(number):
        time.sleep(max(0.0, began + number * STORM / ATTEMPTS - time.monotonic()))
        return attempt(port)

    with concurrent.futures.ThreadPoolExecutor(50) as threads:
        return list(threads.map(one, range(ATTEMPTS)))


@pytest.mark.parametrize("refused", PATHS)
def test_a_permanent_refusal_is_no_storm(emulator, tmp_path, refused):
    """Issue: 1000 attempts in 10 s cost at most four calls, and a lifted fault is noticed within ten seconds."""
    emulator.faults(refused, REFUSAL)
    with service(emulator, tmp_path) as running:
        told = storm(running.port)
        assert calls(emulator) <= 4, emulator.counts()
        for fields in told:
            assert fields["S"] == "FATAL" and fields["C"] == "28000", fields
            assert "notAuthorized" in fields["M"] and "The client is not authorized." in fields["D"], fields
            assert "roles/cloudsql.client" in fields["H"], fields
        errors = running.find("Error 403")
        assert len(errors) == 1, "said once a minute, not once a client"
        emulator.clear_faults()
        lifted = time.monotonic()
        seen = calls(emulator)
        eventually(lambda: attempt(running.port) is None, "a client gets through")
        assert time.monotonic() - lifted < 10
        assert calls(emulator) - seen <= 2, "one refresh"


@pytest.mark.deadline(180)
def test_the_real_auth_proxy_in_the_same_storm(emulator):
    """For comparison; the counts of both are what the test prints."""
    binary = peers.auth_proxy()
    emulator.faults("connectSettings", REFUSAL)
    port = free_port()
    arguments = ["--sqladmin-api-endpoint", emulator.url, "--port", port, "--token",
                 emulator.token(PRINCIPAL, [ADMIN_SCOPE]), NAME]
    with Proxy(arguments, binary=binary, name="cloud-sql-proxy"):
        told = storm(port)
        assert set(told) == {""}, "it tells its clients nothing"
        print(f"calls of the Auth Proxy: {calls(emulator)}")
        assert calls(emulator) > 100, "if this is no longer so the comparison is out of date"


def test_a_waiter_that_gives_up_stops_nothing(emulator, tmp_path):
    """cloudsql.md §9 row 3: one slow waiter must not cancel the refresh of all."""
    emulator.faults("connectSettings", {"hold": True})
    with service(emulator, tmp_path, server='client_login_timeout = "1s"') as running:
        emulator.wait_count("arrived.connectSettings", 1)
        assert "client_login_timeout" in attempt(running.port)["M"]
        emulator.release("connectSettings")
        eventually(lambda: attempt(running.port) is None, "the refresh went on")
        assert emulator.count("connectSettings") == 1


def test_retry_after_binds_clients(emulator, tmp_path):
    emulator.faults("connectSettings", {"status": 429, "reason": "rateLimitExceeded", "headers": {"Retry-After": "8"}})
    with service(emulator, tmp_path) as running:
        emulator.wait_count("connectSettings", 1)
        began = time.monotonic()
        while attempt(running.port) is not None:
            assert time.monotonic() - began < 30
        first, second = (r["time"] for r in emulator.requests("connectSettings"))
        assert second - first >= 7.9


# -- what strangers are told


def test_strangers_hear_no_address(emulator, tmp_path):
    address = emulator.addresses[NAME]
    with service(emulator, tmp_path) as running:
        emulator.wait_count("generateEphemeralCert.ok", 1)
        emulator.side("refuse")
        fields = attempt(running.port)
        assert fields["C"] == "08001" and fields["M"] == "cannot connect to the database: it refuses connections"
        assert "H" in fields and address not in str(fields)
        running.wait_line(f"cannot connect to {address}:3307")
        for _ in range(20):
            assert address not in str(attempt(running.port))
        assert len(running.find("failed to connect to instance")) == 1


def test_strangers_hear_no_url(tmp_path, emulator):
    unreachable = f"http://127.0.0.1:{free_port()}/"
    port = free_port()
    with Proxy(["--sqladmin-api-endpoint", unreachable, "--port", port, "--auto-iam-authn", NAME],
               env={"GCE_METADATA_HOST": emulator.host}) as running:
        fields = eventually(lambda: attempt(port), "the error is known")
        assert fields["C"] == "08001" and "127.0.0.1" not in str(fields), fields
        assert "no connection to the API can be made" in fields["M"] and "firewall" in fields["H"]
        running.wait_line("127.0.0.1")


def test_strangers_hear_nothing_of_our_credentials(tmp_path, emulator):
    subject, file, port = tmp_path / "subject-token", tmp_path / "credentials.json", free_port()
    file.write_text(json.dumps({
        "type": "external_account", "token_url": f"{emulator.url}/v1/token",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {"file": str(subject)}}))
    with Proxy(["--sqladmin-api-endpoint", emulator.url, "--port", port, "--credentials-file", file, NAME]) as running:
        fields = eventually(lambda: attempt(port), "the error is known")
        assert fields["C"] == "28000" and str(tmp_path) not in str(fields), fields
        assert fields["M"] == "sidepool has no usable credentials for the Cloud SQL instance"
        running.wait_line(str(subject))


def test_wrong_ip_type_is_told(emulator, tmp_path):
    with service(emulator, tmp_path, upstream='ip_type = "private"') as running:
        fields = attempt(running.port)
        assert fields["C"] == "08001" and 'does not have IP of type "PRIVATE"' in fields["M"]
        assert "H" in fields


# -- certificates that the instance refuses


@pytest.mark.parametrize("mode", ["transaction", "none"])
def test_a_refused_certificate_is_replaced_once(emulator, tmp_path, mode):
    """cloudsql.md §9 row 11: a new certificate and one more try, before any client hears of it."""
    with service(emulator, tmp_path, mode=mode) as running:
        emulator.wait_count("generateEphemeralCert.ok", 1)
        emulator.side("alert_certificate_expired", times=1)
        connection = psycopg2.connect(host="127.0.0.1", port=running.port, user=ROLE, dbname="postgres")
        assert emulator.count("generateEphemeralCert.ok") == 2
        connection.close()
        assert not running.find("failed to connect to instance")
        # An instance that refuses every certificate: each client costs two dials, and the API next to nothing.
        emulator.side("alert_certificate_expired")
        accepted = emulator.count("accepted")
        fields = attempt(running.port, "other")
        assert fields["C"] == "08001" and "did not accept our certificate" in fields["M"], fields
        assert emulator.count("accepted") - accepted == 2
        for _ in range(30):
            attempt(running.port, "other")
        assert emulator.count("generateEphemeralCert.ok") <= 4


def test_a_cancel_meets_a_certificate_that_is_refused(emulator, tmp_path):
    with service(emulator, tmp_path) as running:
        connection = psycopg2.connect(host="127.0.0.1", port=running.port, user=ROLE, dbname="postgres")
        with connection.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            pid = cursor.fetchone()[0]
        connection.rollback()
        emulator.side("alert_certificate_expired", times=1)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            cursor = connection.cursor()
            answer = thread.submit(cursor.execute, "select pg_sleep(100)")
            eventually(lambda: any('state="active"' in name and value == 1 for name, value in
                                   metric_values(running.http).items() if name.startswith("sidepool_clients{")),
                       "it is on its way")
            connection.cancel()
            with pytest.raises(psycopg2.errors.QueryCanceled):
                answer.result(60)
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            assert cursor.fetchone()[0] == pid, "the server is still fit"
        connection.close()


def test_a_server_that_leaves_in_the_middle_of_a_login_is_told(emulator, tmp_path):
    with service(emulator, tmp_path, mode="none") as running:
        emulator.wait_count("generateEphemeralCert.ok", 1)
        emulator.side("close_after_handshake")
        fields = attempt(running.port)
        assert fields["C"] == "08001" and "it closed the connection" in fields["M"]


def test_a_token_without_an_end_is_no_loop(emulator):
    """cloudsql.md §3.7: the original takes it for over and refreshes every 30 s and at each dial."""
    port = free_port()
    with Proxy(["--sqladmin-api-endpoint", emulator.url, "--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE]),
                "--login-token", emulator.token(PRINCIPAL, [LOGIN_SCOPE]), "--auto-iam-authn", "--port", port, NAME]):
        for _ in range(5):
            assert attempt(port) is None
        assert emulator.count("generateEphemeralCert") == 1


def test_lazy_refresh_fetches_for_the_first_client_only(emulator):
    emulator.instance(NAME, cert_lifetime_s=4)
    port, http = free_ports(2)
    with Proxy(["--sqladmin-api-endpoint", emulator.url, "--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE]),
                "--lazy-refresh", "--port", port, "--health-check", "--http-port", http, NAME]):
        assert http_get(http, "/startup") == (200, "ok"), "nobody would ever come before it is ready"
        assert http_get(http, "/readiness") == (200, "ok")
        assert calls(emulator) == 0
        fields = attempt(port, "nobody")
        assert fields is None, "asked for a password"
        assert calls(emulator) == 2
        first = emulator.requests("generateEphemeralCert")[0]["time"]
        eventually(lambda: attempt(port, "nobody") is None and calls(emulator) == 4, "a client comes when it is due")
        second = emulator.requests("generateEphemeralCert")[1]["time"]
        assert second - first > 1.3


# -- many processes


def test_a_fleet_spreads_its_refreshes(emulator):
    """Fifty processes that start together fetch their second certificate at different times.

    Certificates of 60 s are renewed after 27 to 30 s. Schedules over hours are a unit test (Fleet).
    """
    emulator.instance(NAME, cert_lifetime_s=60)
    token = emulator.token(PRINCIPAL, [ADMIN_SCOPE])
    ports = free_ports(FLEET)
    with contextlib.ExitStack() as stack:
        fleet = [stack.enter_context(Proxy(["--sqladmin-api-endpoint", emulator.url, "--token", token, "--port", port,
                                            "--user-agent", f"member/{port}", NAME], ready=False)) for port in ports]
        for process in fleet:
            process.wait_line("ready for new connections")
        emulator.wait_count("generateEphemeralCert.ok", 2 * FLEET, timeout=90)
        requests = emulator.requests("generateEphemeralCert")
    times = {port: [r["time"] for r in requests if r["headers"]["User-Agent"].endswith(f" member/{port}")]
             for port in ports}
    delays = sorted(second - first for first, second, *_ in times.values())
    print("renewed after", " ".join(f"{delay:.2f}" for delay in delays), "s")
    assert delays[0] > 26 and delays[-1] < 40
    assert delays[-1] - delays[0] > 0.6


# -- probes and metrics


def test_probes_tell_what_the_api_does(emulator):
    emulator.faults("connectSettings", REFUSAL)
    port, http = free_ports(2)
    with Proxy(["--sqladmin-api-endpoint", emulator.url, "--auto-iam-authn", "--port", port, "--health-check",
                "--prometheus", "--http-port", http, NAME], env={"GCE_METADATA_HOST": emulator.host}):
        emulator.wait_count("connectSettings", 1)
        assert http_get(http, "/startup") == (503, "error"), "the original would not have started"
        status, why = http_get(http, "/readiness")
        assert status == 503 and "notAuthorized" in why or why == "proxy is not started"
        assert http_get(http, "/liveness") == (200, "ok")
        samples = eventually(lambda: {k: v for k, v in metric_values(http).items()
                                      if k.startswith("cloudsqlconn_refresh_failure_count")}, "it is counted")
        (name, count), = samples.items()
        assert 'cloudsql_error_code="notAuthorized"' in name and f'cloudsql_instance="{NAME}"' in name and count >= 1
        emulator.clear_faults()
        eventually(lambda: attempt(port) is None, "a client gets through")
        assert http_get(http, "/startup") == (200, "ok")
        assert http_get(http, "/readiness") == (200, "ok")
        # What has been working once stays started; readiness tells of the moment.
        emulator.faults("connectSettings", REFUSAL)
        assert http_get(http, "/startup") == (200, "ok")
        connection = psycopg2.connect(host="127.0.0.1", port=port, user=ROLE, dbname="postgres")
        names = {k.split("{")[0] for k in metric_values(http) if k.startswith("cloudsqlconn_")}
        assert {"cloudsqlconn_dial_latency_bucket", "cloudsqlconn_dial_latency_sum", "cloudsqlconn_dial_latency_count",
                "cloudsqlconn_open_connections", "cloudsqlconn_refresh_failure_count"} <= names, names
        eventually(lambda: any(k.startswith("cloudsqlconn_refresh_success_count") for k in metric_values(http)),
                   "the refresh is counted")
        connection.close()


def test_bytes_of_clients_with_a_server_of_their_own_are_counted(emulator, tmp_path):
    with service(emulator, tmp_path, mode="none") as running:
        connection = psycopg2.connect(host="127.0.0.1", port=running.port, user=ROLE, dbname="postgres")
        with connection.cursor() as cursor:
            cursor.execute("select repeat('x', 100000)")
        connection.close()

        def received():
            return sum(v for k, v in metric_values(running.http).items()
                       if k.startswith("cloudsqlconn_bytes_received"))
        eventually(lambda: received() > 100000, "they are counted at its end")
