"""tests/e2e/test_real_auth_proxy.py -- Google's own Auth Proxy against the emulator: is the emulator true to it?"""
import json
import tempfile
import threading

import psycopg2
import pytest

from lib import peers
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, PLATFORM_SCOPE, Emulator
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.sidepool import Proxy, http_get, metric_values
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
CAS = "my-project:us-central1:cas"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"


@pytest.fixture(scope="module")
def binary():
    return peers.auth_proxy()


@pytest.fixture(scope="module")
def postgres(binary):
    with Postgres() as server:
        server.create_role("alice", "secret")
        server.create_role(ROLE)
        yield server


@pytest.fixture(scope="module")
def module_emulator(postgres):
    with Emulator(postgres, {NAME: "", CAS: "mode=cas,dns=db.example.com"}, principal=PRINCIPAL) as running:
        yield running


@pytest.fixture
def emulator(module_emulator):
    """Clean: no faults, default settings, no records."""
    yield module_emulator
    module_emulator.clear_faults()
    eventually(lambda: module_emulator.open_connections() == 0, "connections end with their proxy")
    module_emulator.post("principals", email=PRINCIPAL, impersonators=[])
    for name in (NAME, CAS):
        module_emulator.instance(
            name, address=module_emulator.addresses[name], private_address="", region="", backend_type="SECOND_GEN",
            database_version="POSTGRES_15", mdx=["CLIENT_PROTOCOL_TYPE"], mdx_reply="none", server_cert="normal",
            tls="1.3", cert_lifetime_s=3600, bundle=[])
    module_emulator.reset_records()


class GoogleProxy(Proxy):
    """The real binary in front of one instance; `port` is where it listens."""

    def __init__(self, binary, emulator, *args, name=NAME, env=None):
        self.port = free_port()
        super().__init__(["--sqladmin-api-endpoint", emulator.url, "--port", self.port, *args, name], env=env,
                         binary=binary, name="cloud-sql-proxy")

    def connect(self, user="alice", password="secret", **more):
        return psycopg2.connect(host="127.0.0.1", port=self.port, user=user, password=password, dbname="postgres",
                                connect_timeout=60, **more)

    def who(self, **login):
        """current_user, asked through the proxy."""
        connection = self.connect(**login)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select current_user")
                return cursor.fetchone()[0]
        finally:
            connection.close()


def with_token(emulator):
    return ["--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE])]


def write_json(folder, content):
    path = folder / "credentials.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def scopes_of(emulator, api):
    return [request["details"]["scopes"] for request in emulator.requests(api)]


# -- logins with each source of credentials


def test_password_user_with_a_static_token(binary, emulator):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        assert proxy.who() == "alice"
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            proxy.who(password="wrong")
    assert {login["kind"] for login in emulator.logins()} == {"password"}
    request = emulator.requests("generateEphemeralCert")[0]
    assert request["details"]["has_access_token"] is False
    assert request["details"]["public_key_label"] == "-----BEGIN RSA PUBLIC KEY-----"
    assert request["headers"]["User-Agent"] == "cloud-sql-go-connector/1.25.1 cloud-sql-proxy/2.25.3"


def test_iam_user_with_a_service_account_file(binary, emulator, tmp_path):
    file = write_json(tmp_path, emulator.service_account(PRINCIPAL))
    with GoogleProxy(binary, emulator, "--auto-iam-authn", "--credentials-file", file) as proxy:
        assert proxy.who(user=ROLE, password="anything") == ROLE
        assert proxy.who() == "alice"  # password users go on working (cloudsql.md 4.3)
    assert sorted(scopes_of(emulator, "token")) == [[ADMIN_SCOPE], [LOGIN_SCOPE]]
    assert emulator.logins()[0]["principal"] == PRINCIPAL
    assert [login["kind"] for login in emulator.logins()] == ["iam", "password"]


def test_iam_user_with_the_metadata_server(binary, emulator):
    with GoogleProxy(binary, emulator, "--auto-iam-authn", env={"GCE_METADATA_HOST": emulator.host}) as proxy:
        assert proxy.who(user=ROLE, password="anything") == ROLE
    assert sorted(scopes_of(emulator, "metadata.token")) == [[ADMIN_SCOPE], [LOGIN_SCOPE]]


def test_impersonation_file(binary, emulator, tmp_path):
    source = emulator.service_account("source@my-project.iam.gserviceaccount.com")
    emulator.post("principals", email=PRINCIPAL, impersonators=[source["client_email"]])
    url = f"{emulator.url}/v1/projects/-/serviceAccounts/{PRINCIPAL}:generateAccessToken"
    file = write_json(tmp_path, {"type": "impersonated_service_account", "service_account_impersonation_url": url,
                                 "delegates": [], "source_credentials": source})
    with GoogleProxy(binary, emulator, "--auto-iam-authn", "--credentials-file", file) as proxy:
        assert proxy.who(user=ROLE, password="x") == ROLE
    assert sorted(scopes_of(emulator, "generateAccessToken")) == [[ADMIN_SCOPE], [LOGIN_SCOPE]]
    assert [PLATFORM_SCOPE] in scopes_of(emulator, "token")


def test_external_account_file(binary, emulator, tmp_path):
    emulator.post("subject-tokens", subject_token="a-projected-token", principal=PRINCIPAL)
    subject = tmp_path / "subject"
    subject.write_text("a-projected-token", encoding="ascii")
    file = write_json(tmp_path, {
        "type": "external_account", "token_url": f"{emulator.url}/v1/token",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {"file": str(subject)}})
    with GoogleProxy(binary, emulator, "--auto-iam-authn", "--credentials-file", file) as proxy:
        assert proxy.who(user=ROLE, password="x") == ROLE
    assert sorted(scopes_of(emulator, "sts")) == [[ADMIN_SCOPE], [LOGIN_SCOPE]]


def test_manual_iam(binary, emulator):
    """Without --auto-iam-authn the login token is the password."""
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        assert proxy.who(user=ROLE, password=emulator.token(PRINCIPAL, [LOGIN_SCOPE])) == ROLE
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            proxy.who(user=ROLE, password="no-token")
    assert emulator.logins()[0]["kind"] == "manual_iam"


def test_iam_role_of_somebody_else_is_refused(binary, emulator, postgres):
    emulator.post("principals", email="other@my-project.iam.gserviceaccount.com")
    with GoogleProxy(binary, emulator, "--auto-iam-authn", env={"GCE_METADATA_HOST": emulator.host}) as proxy:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            proxy.who(user="other@my-project.iam", password="x")


# -- the wire


@pytest.fixture
def socket_folder():
    """Short: a socket's path is bounded to 107 bytes, and the instance name is part of it."""
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        yield folder


def test_mdx_is_sent_by_listener_type_and_only_when_advertised(binary, emulator, socket_folder):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        proxy.who()
        assert [login["mdx"] for login in emulator.logins()] == ["tcp"]
        emulator.instance(NAME, mdx_reply="ok")
        proxy.who()
        emulator.instance(NAME, mdx_reply="error")  # the status is ignored (cloudsql.md 2)
        proxy.who()
    emulator.instance(NAME, mdx=[], mdx_reply="none")
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        proxy.who()
    assert emulator.logins()[-1]["mdx"] == ""
    emulator.instance(NAME, mdx=["CLIENT_PROTOCOL_TYPE"])
    with Proxy(["--sqladmin-api-endpoint", emulator.url, *with_token(emulator), "--unix-socket", socket_folder, NAME],
               binary=binary, name="cloud-sql-proxy"):
        psycopg2.connect(host=f"{socket_folder}/{NAME}", user="alice", password="secret", dbname="postgres").close()
    assert emulator.logins()[-1]["mdx"] == "uds"


def test_encryption_requests_are_answered_by_the_far_end(binary, emulator):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        proxy.connect(sslmode="prefer").close()
        with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
            proxy.connect(sslmode="require")
        proxy.connect(sslmode="disable").close()
    assert [login["ssl_requests"] for login in emulator.logins()] == [1, 0]


def test_server_end_is_a_clean_end(binary, emulator, postgres):
    """close_notify: with a bare FIN the proxy logs "unexpected EOF" (cloudsql.md 8.2)."""
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        connection = proxy.connect()
        postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("select 1")
        proxy.wait_line(r"instance closed the connection")
        assert not proxy.find("unexpected EOF")


def test_cancel(binary, emulator, postgres):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        connection = proxy.connect()
        failed = []

        def sleep():
            try:
                connection.cursor().execute("select pg_sleep(60)")
            except psycopg2.errors.QueryCanceled as error:
                failed.append(error)

        runner = threading.Thread(target=sleep)
        runner.start()
        eventually(lambda: postgres.sql("select 1 from pg_stat_activity where wait_event = 'PgSleep'"), "it sleeps")
        connection.cancel()
        runner.join(30)
        assert failed
        connection.close()


def test_large_result(binary, emulator):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        connection = proxy.connect()
        with connection.cursor() as cursor:
            cursor.execute("select repeat('x', 1000000) from generate_series(1, 64)")
            assert sum(len(row[0]) for row in cursor) == 64_000_000
        connection.close()


# -- certificates and addresses


def test_cas_instance(binary, emulator):
    with GoogleProxy(binary, emulator, *with_token(emulator), name=CAS) as proxy:
        assert proxy.who() == "alice"


@pytest.mark.parametrize("bundle", [["leaf"], ["leaf", "intermediate", "root"], ["intermediate"]])
def test_partial_bundles_are_enough(binary, emulator, bundle):
    emulator.instance(CAS, bundle=bundle)
    with GoogleProxy(binary, emulator, *with_token(emulator), name=CAS) as proxy:
        assert proxy.who() == "alice"


@pytest.mark.parametrize("kind,text", [("wrong_name", 'certificate had CN "another-project:another-instance"'),
                                       ("wrong_ca", "failed to verify certificate"),
                                       ("expired", "failed to verify certificate")])
def test_wrong_server_certificates_are_refused(binary, emulator, kind, text):
    emulator.instance(NAME, server_cert=kind)
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line(text)


def test_server_tls_1_2_is_refused(binary, emulator):
    emulator.instance(NAME, tls="1.2")
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line("handshake failed")


def test_private_ip_and_psc(binary, emulator):
    private = emulator.addresses[NAME]
    emulator.instance(NAME, address="", private_address=private)
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line('instance does not have IP of type "PUBLIC"')
    with GoogleProxy(binary, emulator, *with_token(emulator), "--private-ip") as proxy:
        assert proxy.who() == "alice"


@pytest.mark.parametrize("keep_old", [True, False])
def test_rotation_of_the_server_ca_is_followed(binary, emulator, keep_old):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        established = proxy.connect()
        emulator.rotate(NAME, "server_ca", keep_old=keep_old)
        # The first dial meets the new certificate with the old bundle, is refused, and evicts (cloudsql.md 3.6).
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line("failed to verify certificate")
        assert proxy.who() == "alice"
        established.cursor().execute("select 1")
        established.close()


def attempt(proxy):
    try:
        return proxy.who()
    except psycopg2.OperationalError as error:
        return str(error)


def test_rotation_of_the_client_ca_is_followed(binary, emulator):
    """Without MDX only: with it Google's 2.25.3 wraps the alert in an error of its own, does not recognise it, keeps
    the refused certificate and fails every dial until the next scheduled refresh."""
    emulator.instance(NAME, mdx=[])
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        proxy.who()
        emulator.rotate(NAME, "client_ca", keep_old=False)
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        # Its write may fail before it reads the alert; then it is the next dial that meets it.
        proxy.wait_line("remote error: tls: |error writing to instance")
        eventually(lambda: attempt(proxy) == "alice", "the proxy fetches a certificate of the new CA")


def test_expired_certificate_is_replaced_at_the_dial(binary, emulator):
    emulator.instance(NAME, cert_lifetime_s=2)
    with GoogleProxy(binary, emulator, *with_token(emulator), "--lazy-refresh") as proxy:
        proxy.who()
        first = emulator.logins()[-1]["client_cert_sha256"]
        proxy.who()
        assert emulator.logins()[-1]["client_cert_sha256"] != first


# -- failures of the API and of 3307


def test_5xx_is_retried(binary, emulator):
    emulator.faults("connectSettings", {"status": 503, "times": 3})
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        assert proxy.who() == "alice"
    assert emulator.count("connectSettings") == 4
    times = [request["time"] for request in emulator.requests("connectSettings")]
    assert times[1] - times[0] >= 0.3  # 200 ms x 1.618^(1..2)


@pytest.mark.parametrize("status,word", [(403, "notAuthorized"), (404, "instanceDoesNotExist"),
                                         (429, "rateLimitExceeded")])
def test_4xx_is_told_and_not_retried(binary, emulator, status, word):
    emulator.faults("connectSettings", {"status": status, "times": -1})
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line(rf"Error {status}: .*{word}")
    assert emulator.count("connectSettings") <= 2  # the refresh of the start and the one of the dial


def test_bad_token_is_told(binary, emulator):
    with GoogleProxy(binary, emulator, "--token", "nonsense") as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line(r"Error 401: .*authError")


@pytest.mark.parametrize("settings,text", [({"region": "europe-west1"}, "provided region was mismatched"),
                                           ({"backend_type": "FIRST_GEN"}, "only Second Generation"),
                                           ({"database_version": "SQLSERVER_2019"}, "does not support Auto IAM")])
def test_unfit_instances_are_told(binary, emulator, settings, text):
    emulator.instance(NAME, **settings)
    env = {"GCE_METADATA_HOST": emulator.host}
    with GoogleProxy(binary, emulator, "--auto-iam-authn", env=env) as proxy:
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line(text)


@pytest.mark.parametrize("mode,text", [("refuse", "failed to dial"),
                                       ("reset_before_handshake", "handshake failed|failed to dial"),
                                       ("alert_bad_certificate", "remote error: tls: bad certificate"),
                                       ("reset_after_handshake", "error (reading from|writing to) instance")])
def test_3307_faults_are_told_and_overcome(binary, emulator, mode, text):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        proxy.who()
        emulator.side(mode, NAME)
        with pytest.raises(psycopg2.OperationalError):
            proxy.who()
        proxy.wait_line(text)
        emulator.side("none", NAME)
        assert proxy.who() == "alice"


def test_killed_connections_are_noticed(binary, emulator):
    with GoogleProxy(binary, emulator, *with_token(emulator)) as proxy:
        connection = proxy.connect()
        assert emulator.kill_connections("reset") == 1
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("select 1")
        proxy.wait_line("error (reading from|writing to) instance")
        assert proxy.who() == "alice"


# -- the harness itself, which the tests of sidepool share


def test_harness_reads_probes_metrics_and_addresses(binary, emulator):
    http_port, admin_port = free_ports(2)
    with GoogleProxy(binary, emulator, *with_token(emulator), "--health-check", "--prometheus", "--quitquitquit",
                     "--http-port", str(http_port), "--admin-port", str(admin_port), "--structured-logs") as proxy:
        assert proxy.listening() == [(NAME, f"127.0.0.1:{proxy.port}")]
        # Google's proxy says "ready" before its probes listen.
        eventually(lambda: http_get(http_port, "/startup") == (200, "ok"), "/startup answers")
        proxy.who()
        assert any(name.startswith("cloudsqlconn_dial_latency_count") and value == 1
                   for name, value in metric_values(http_port).items())
        assert any(record["severity"] == "INFO" for record in proxy.log_records())
        assert http_get(admin_port, "/quitquitquit", method="POST")[0] == 200
        assert proxy.wait() == 0
