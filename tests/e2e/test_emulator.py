"""tests/e2e/test_emulator.py -- the emulator's HTTP side and 3307, seen by openssl, urllib and Python's ssl."""
import json
import socket
import ssl
import threading
import time
import urllib.parse

import pytest

from lib import wire
from lib.cloudsql_client import Connector, common_name, ending, openssl, service_account_claims, signed_jwt
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, PLATFORM_SCOPE, Emulator, HttpFailure, http
from lib.postgres import Postgres
from lib.process import peak_memory_kib
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
SCOPED = "google.com:corp:europe-west1:db"
CAS = "my-project:us-central1:cas"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice", "secret")
        server.create_role(ROLE)
        yield server


@pytest.fixture(scope="module")
def module_emulator(postgres):
    instances = {NAME: "", SCOPED: "", CAS: "mode=cas,dns=db.example.com"}
    with Emulator(postgres, instances, principal=PRINCIPAL) as running:
        yield running


@pytest.fixture
def emulator(module_emulator):
    """Clean: no faults, default settings, no records."""
    yield module_emulator
    module_emulator.clear_faults()
    module_emulator.kill_connections("reset")
    eventually(lambda: module_emulator.open_connections() == 0, "connections end")
    module_emulator.post("token-lifetime", seconds=3600)
    module_emulator.post("principals", email=PRINCIPAL, connect=True, login=True, impersonators=[])
    for name in (NAME, SCOPED, CAS):
        module_emulator.instance(
            name, address=module_emulator.addresses[name], private_address="", region="", backend_type="SECOND_GEN",
            database_version="POSTGRES_15", mdx=["CLIENT_PROTOCOL_TYPE"], mdx_reply="none", server_cert="normal",
            tls="1.3", iam=True, cert_lifetime_s=3600, bundle=[], dns_names=[], psc_enabled=False)
    module_emulator.reset_records()


@pytest.fixture(scope="module")
def connector(module_emulator):
    with Connector(module_emulator) as made:
        yield made


def admin_token(emulator):
    return emulator.token(PRINCIPAL, [ADMIN_SCOPE])


def login_token(emulator, principal=PRINCIPAL):
    return emulator.token(principal, [LOGIN_SCOPE])


def form(url, **fields):
    return json.loads(http("POST", url, urllib.parse.urlencode(fields),
                           {"Content-Type": "application/x-www-form-urlencoded"})[2])


def failure(call, *arguments, **more):
    with pytest.raises(HttpFailure) as caught:
        call(*arguments, **more)
    return caught.value


def reason(caught):
    return json.loads(caught.text)["error"]["errors"][0]["reason"]


# -- Admin API


def test_connect_settings_has_the_documented_shape(emulator, connector):
    settings = connector.settings(NAME, admin_token(emulator))
    assert settings["region"] == "us-central1"
    assert settings["backendType"] == "SECOND_GEN"
    assert settings["databaseVersion"] == "POSTGRES_15"
    assert settings["ipAddresses"] == [{"type": "PRIMARY", "ipAddress": emulator.addresses[NAME]}]
    assert settings["serverCaCert"]["cert"].count("BEGIN CERTIFICATE") == 1
    assert settings["serverCaMode"] == "GOOGLE_MANAGED_INTERNAL_CA"
    assert settings["mdxProtocolSupport"] == ["CLIENT_PROTOCOL_TYPE"]
    assert "dnsName" not in settings and "pscEnabled" not in settings


def test_domain_scoped_project_is_percent_encoded(emulator, connector):
    assert connector.settings(SCOPED, admin_token(emulator))["region"] == "europe-west1"
    assert emulator.requests("connectSettings")[-1]["path"].startswith("/sql/v1beta4/projects/google.com%3Acorp/")


def test_bearer_is_checked(emulator, connector):
    assert reason(failure(connector.settings, NAME, "nonsense")) == "authError"
    assert failure(connector.settings, NAME, "nonsense").status == 401
    narrow = failure(connector.settings, NAME, login_token(emulator))
    assert (narrow.status, reason(narrow)) == (403, "insufficientPermissions")
    unknown = failure(connector.settings, "my-project:us-central1:nowhere", admin_token(emulator))
    assert (unknown.status, reason(unknown)) == (404, "instanceDoesNotExist")
    emulator.post("principals", email=PRINCIPAL, connect=False)
    denied = failure(connector.settings, NAME, admin_token(emulator))
    assert (denied.status, reason(denied)) == (403, "notAuthorized")


def test_tokens_expire(emulator, connector):
    emulator.post("token-lifetime", seconds=1)
    token = admin_token(emulator)
    connector.settings(NAME, token)
    caught = eventually(lambda: expired(connector, token), "the token expires", 5)
    assert caught.status == 401


def expired(connector, token):
    try:
        connector.settings(NAME, token)
    except HttpFailure as caught:
        return caught
    return None


def test_ephemeral_certificate(emulator, connector):
    emulator.instance(NAME, cert_lifetime_s=7)
    certificate = connector.certificate(NAME, admin_token(emulator))
    text = openssl("x509", "-noout", "-subject", "-issuer", "-ext", "extendedKeyUsage", "-nameopt", "RFC2253",
                   data=certificate.encode()).decode()
    assert "CN=Google Cloud SQL Client,O=Google\\, Inc,C=US" in text
    assert "CN=Google Cloud SQL Signing CA my-project:my-postgres" in text
    assert "TLS Web Client Authentication" in text
    key = openssl("x509", "-noout", "-pubkey", data=certificate.encode()).decode()
    assert key.replace("PUBLIC KEY", "RSA PUBLIC KEY") == connector.public_key
    dates = openssl("x509", "-noout", "-enddate", data=certificate.encode()).decode().strip().split("=", 1)[1]
    assert 0 <= ssl.cert_time_to_seconds(dates) - time.time() <= 8
    record = emulator.requests("generateEphemeralCert")[-1]["details"]
    assert record["public_key_label"] == "-----BEGIN RSA PUBLIC KEY-----"
    assert record["has_access_token"] is False


def test_ephemeral_certificate_refuses_what_is_no_key_or_no_login_token(emulator, connector):
    token = admin_token(emulator)
    assert failure(connector.certificate, NAME, token, public_key="x").status == 400
    assert failure(connector.certificate, NAME, token, login_token="x").status == 400
    # A token for the API is none for the database: one scope each (cloudsql.md 4.1).
    assert failure(connector.certificate, NAME, token, login_token=token).status == 400


def test_records_hold_no_secret(emulator, connector):
    token, login = admin_token(emulator), login_token(emulator)
    connector.certificate(NAME, token, login)
    everything = json.dumps(emulator.requests()) + json.dumps(emulator.state())
    assert token not in everything and login not in everything
    assert emulator.requests("generateEphemeralCert")[-1]["headers"]["Authorization"] == "Bearer <redacted>"
    assert emulator.requests("generateEphemeralCert")[-1]["principal"] == PRINCIPAL


# -- tokens


def test_jwt_bearer_verifies_the_signature(emulator):
    account = emulator.service_account(PRINCIPAL)
    other = emulator.service_account("other@my-project.iam.gserviceaccount.com")
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = service_account_claims(account, ADMIN_SCOPE)
    good = form(account["token_uri"], grant_type=grant, assertion=signed_jwt(account["private_key"], claims))
    assert good["token_type"] == "Bearer" and good["expires_in"] == 3600
    assert emulator.requests("token")[-1]["details"]["scopes"] == [ADMIN_SCOPE]
    for key, changes in ((other["private_key"], {}), (account["private_key"], {"aud": "https://elsewhere/token"}),
                         (account["private_key"], {"exp": int(time.time()) - 1}),
                         (account["private_key"], {"exp": int(time.time()) + 7200}),
                         (account["private_key"], {"iss": "nobody@my-project.iam.gserviceaccount.com"})):
        assertion = signed_jwt(key, {**claims, **changes})
        caught = failure(form, account["token_uri"], grant_type=grant, assertion=assertion)
        assert (caught.status, json.loads(caught.text)["error"]) == (400, "invalid_grant"), changes


def test_refresh_token_grant(emulator):
    user = emulator.post("users", email="Alice@example.com")
    assert user["type"] == "authorized_user"
    fields = {key: user[key] for key in ("client_id", "client_secret", "refresh_token")}
    token = form(f"{emulator.url}/token", grant_type="refresh_token", **fields)["access_token"]
    assert token
    caught = failure(form, f"{emulator.url}/token", grant_type="refresh_token", **{**fields, "client_secret": "x"})
    assert json.loads(caught.text)["error"] == "invalid_grant"
    assert emulator.state()["principals"]["Alice@example.com"] == "alice@example.com"


def test_metadata_server(emulator):
    base = f"{emulator.url}/computeMetadata/v1"
    flavor = {"Metadata-Flavor": "Google"}
    assert http("GET", f"{emulator.url}/")[1]["Metadata-Flavor"] == "Google"
    path = "/instance/service-accounts/default/token?scopes=" + urllib.parse.quote(LOGIN_SCOPE, safe="")
    status, headers, text = http("GET", base + path, headers=flavor)
    assert (status, headers["Metadata-Flavor"]) == (200, "Google")
    assert json.loads(text)["expires_in"] == 3600
    assert emulator.requests("metadata.token")[-1]["details"]["scopes"] == [LOGIN_SCOPE]
    assert failure(http, "GET", base + path).status == 403
    assert failure(http, "GET", base + "/universe/universe-domain", headers=flavor).status == 404
    assert http("GET", base + "/instance/service-accounts/default/email", headers=flavor)[2] == PRINCIPAL


def test_sts_and_impersonation(emulator):
    emulator.post("subject-tokens", subject_token="k8s-token", principal="ksa@my-project.iam.gserviceaccount.com")
    fields = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "k8s-token",
              "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
              "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
              "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "scope": PLATFORM_SCOPE}
    source = form(f"{emulator.url}/v1/token", **fields)["access_token"]
    assert failure(form, f"{emulator.url}/v1/token", **{**fields, "subject_token": "x"}).status == 400

    def impersonate(token, target, delegates=()):
        names = [f"projects/-/serviceAccounts/{name}" for name in delegates]
        body = {"scope": [LOGIN_SCOPE], "lifetime": "600s", "delegates": names}
        url = f"{emulator.url}/v1/projects/-/serviceAccounts/{target}:generateAccessToken"
        return json.loads(http("POST", url, json.dumps(body), {"Authorization": f"Bearer {token}"})[2])

    assert impersonate(source, PRINCIPAL)["accessToken"]
    middle = "middle@my-project.iam.gserviceaccount.com"
    emulator.post("principals", email=middle)
    emulator.post("principals", email=PRINCIPAL, impersonators=[middle])
    assert failure(impersonate, source, PRINCIPAL).status == 403
    assert impersonate(source, PRINCIPAL, [middle])["expireTime"].endswith("Z")
    assert failure(impersonate, login_token(emulator), PRINCIPAL).status == 403


# -- faults of the API


def test_fault_steps_run_in_order(emulator, connector):
    token = admin_token(emulator)
    emulator.faults("connectSettings", {"status": 500, "times": 2}, {"status": 403, "reason": "accessNotConfigured"},
                    {"status": 429, "headers": {"Retry-After": "7"}})
    seen = [failure(connector.settings, NAME, token) for _ in range(4)]
    assert [one.status for one in seen] == [500, 500, 403, 429]
    assert reason(seen[2]) == "accessNotConfigured"
    assert seen[3].headers["Retry-After"] == "7"
    connector.settings(NAME, token)
    assert emulator.counts()["connectSettings"] == 5 and emulator.counts()["connectSettings.ok"] == 1


def test_fault_of_one_instance_leaves_the_others(emulator, connector):
    emulator.faults("connectSettings", {"status": 404, "times": -1}, name=NAME)
    token = admin_token(emulator)
    assert failure(connector.settings, NAME, token).status == 404
    connector.settings(SCOPED, token)
    emulator.clear_faults()
    connector.settings(NAME, token)


def test_drop_and_malformed_answers(emulator, connector):
    token = admin_token(emulator)
    emulator.faults("connectSettings", {"drop": True}, {"malformed": "json"}, {"malformed": "empty_pem"})
    with pytest.raises(OSError):
        connector.settings(NAME, token)
    with pytest.raises(ValueError):
        connector.settings(NAME, token)
    assert connector.settings(NAME, token)["serverCaCert"]["cert"] == ""
    emulator.faults("generateEphemeralCert", {"malformed": "pem"})
    broken = connector.certificate(NAME, token)
    with pytest.raises(AssertionError):
        openssl("x509", "-noout", data=broken.encode())


def test_held_request_waits_for_its_release(emulator, connector):
    token = admin_token(emulator)
    emulator.faults("connectSettings", {"hold": True})
    answers = []
    caller = threading.Thread(target=lambda: answers.append(connector.settings(NAME, token)))
    caller.start()
    emulator.wait_count("arrived.connectSettings", 1)
    eventually(lambda: emulator.state()["faults"]["held"].get("connectSettings") == 1, "the request is held")
    assert not answers
    emulator.release("connectSettings")
    caller.join(30)
    assert len(answers) == 1


def test_delay(emulator, connector):
    token = admin_token(emulator)
    emulator.faults("connectSettings", {"delay_ms": 300})
    begun = time.monotonic()
    connector.settings(NAME, token)
    assert time.monotonic() - begun >= 0.3


def test_settings_can_be_made_wrong(emulator, connector):
    token = admin_token(emulator)
    emulator.instance(NAME, region="mars-north1", backend_type="FIRST_GEN", database_version="MYSQL_8_0", address="",
                      mdx=[])
    settings = connector.settings(NAME, token)
    assert (settings["region"], settings["backendType"], settings["databaseVersion"]) == (
        "mars-north1", "FIRST_GEN", "MYSQL_8_0")
    assert settings["ipAddresses"] == [] and "mdxProtocolSupport" not in settings
    with pytest.raises(HttpFailure):
        emulator.instance(NAME, colour="green")
    with pytest.raises(HttpFailure):
        emulator.instance(NAME, address=emulator.addresses[SCOPED])


def test_psc_and_dns_names(emulator, connector):
    emulator.instance(NAME, psc_enabled=True, dns_names=[{"name": "localhost"}])
    settings = connector.settings(NAME, admin_token(emulator))
    assert settings["pscEnabled"] is True
    assert settings["dnsNames"] == [{"name": "localhost", "connectionType": "PRIVATE_SERVICE_CONNECT",
                                     "dnsScope": "INSTANCE"}]
    url = f"{emulator.url}/sql/v1beta4/locations/us-central1/dns/localhost.:resolveConnectSettings"
    answer = json.loads(http("GET", url, headers={"Authorization": f"Bearer {admin_token(emulator)}"})[2])
    assert answer["connectionName"] == NAME


# -- TLS


def test_legacy_certificate_names_the_instance(emulator, connector):
    with connector.connect(NAME, admin_token(emulator)) as sock:
        assert sock.version() == "TLSv1.3"
        assert common_name(sock) == "my-project:my-postgres"
    with connector.connect(SCOPED, admin_token(emulator)) as sock:
        assert common_name(sock) == "google.com:corp:db"


def test_cas_certificate_is_found_by_san(emulator, connector):
    token = admin_token(emulator)
    settings = connector.settings(CAS, token)
    assert settings["dnsName"] == "db.example.com"
    assert settings["serverCaMode"] == "GOOGLE_MANAGED_CAS_CA"
    assert settings["serverCaCert"]["cert"].count("BEGIN CERTIFICATE") == 2
    with connector.connect(CAS, token) as sock:
        assert common_name(sock) == ""
        assert ("DNS", "db.example.com") in sock.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("name,bundle,trusted", [
    (NAME, ["leaf"], True), (NAME, ["root"], True), (NAME, ["intermediate"], False),
    (CAS, ["intermediate"], True), (CAS, ["leaf"], True), (CAS, ["root"], True),
    (CAS, ["leaf", "intermediate", "root"], True)])
def test_partial_bundles(emulator, connector, name, bundle, trusted):
    emulator.instance(name, bundle=bundle)
    if trusted:
        connector.connect(name, admin_token(emulator)).close()
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            connector.connect(name, admin_token(emulator))


@pytest.mark.parametrize("kind", ["wrong_ca", "expired"])
def test_bad_server_certificates(emulator, connector, kind):
    emulator.instance(NAME, server_cert=kind)
    with pytest.raises(ssl.SSLCertVerificationError):
        connector.connect(NAME, admin_token(emulator))


def test_wrong_name_and_tls_1_2(emulator, connector):
    emulator.instance(NAME, server_cert="wrong_name", tls="1.2")
    with connector.connect(NAME, admin_token(emulator)) as sock:
        assert common_name(sock) == "another-project:another-instance"
        assert sock.version() == "TLSv1.2"


def test_tls_1_2_clients_are_refused(emulator, connector):
    token = admin_token(emulator)
    context = connector.context(connector.settings(NAME, token)["serverCaCert"]["cert"],
                                connector.certificate(NAME, token))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="protocol version"):
        connector.dial(emulator.addresses[NAME], context)


def rejected(connector, address, context, port=3307):
    """The alert that comes after the client believed the handshake complete (TLS 1.3)."""
    with connector.dial(address, context, port) as sock:
        return ending(sock)


def test_client_certificates_are_required_and_checked(emulator, connector):
    token = admin_token(emulator)
    bundle = connector.settings(NAME, token)["serverCaCert"]["cert"]
    address = emulator.addresses[NAME]
    assert rejected(connector, address, connector.context(bundle)) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    foreign = connector.certificate(SCOPED, token)
    assert rejected(connector, address, connector.context(bundle, foreign)) == "TLSV1_ALERT_UNKNOWN_CA"
    emulator.instance(NAME, cert_lifetime_s=-10)
    old = connector.certificate(NAME, token)
    assert rejected(connector, address, connector.context(bundle, old)) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


def test_rotation_of_the_server_ca(emulator, connector):
    token = admin_token(emulator)
    before = connector.settings(NAME, token)["serverCaCert"]["cert"]
    certificate = connector.certificate(NAME, token)
    emulator.rotate(NAME, "server_ca", keep_old=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        connector.dial(emulator.addresses[NAME], connector.context(before, certificate))
    assert connector.settings(NAME, token)["serverCaCert"]["cert"].count("BEGIN CERTIFICATE") == 2
    connector.connect(NAME, token).close()
    emulator.rotate(NAME, "server_ca", keep_old=False)
    assert connector.settings(NAME, token)["serverCaCert"]["cert"].count("BEGIN CERTIFICATE") == 1
    connector.connect(NAME, token).close()


def test_rotation_of_the_client_ca(emulator, connector):
    token = admin_token(emulator)
    bundle = connector.settings(NAME, token)["serverCaCert"]["cert"]
    first = connector.certificate(NAME, token)
    emulator.rotate(NAME, "client_ca", keep_old=True)
    with connector.dial(emulator.addresses[NAME], connector.context(bundle, first)) as sock:
        sock.sendall(wire.SSL_REQUEST)
        assert sock.recv(1) == b"N"
    emulator.rotate(NAME, "client_ca", keep_old=False)
    context = connector.context(bundle, first)
    assert rejected(connector, emulator.addresses[NAME], context) in ("TLSV1_ALERT_UNKNOWN_CA",
                                                                      "TLSV1_ALERT_DECRYPT_ERROR")
    with connector.connect(NAME, token) as sock:
        sock.sendall(wire.SSL_REQUEST)
        assert sock.recv(1) == b"N"


# -- before the relay: MDX and negotiation


def mdx(payload):
    return b"CSQLMDEX" + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize("payload,protocol", [(b"\x10\x01", "tcp"), (b"\x10\x02", "tls"), (b"\x10\x03", "uds"),
                                              (b"", "unspecified"), (b"\x0a\x03abc\x10\x03", "uds")])
def test_mdx_frame_is_swallowed(emulator, connector, payload, protocol):
    with connector.connect(NAME, admin_token(emulator)) as sock:
        for byte in mdx(payload):
            sock.sendall(bytes([byte]))
        sock.sendall(wire.startup(user="alice", database="postgres"))
        assert wire.Wire(sock).read()[0] == "R"
    assert emulator.logins()[-1]["mdx"] == protocol


@pytest.mark.parametrize("reply,payload", [("ok", b"\x08\x01"), ("error", b"\x08\x02\x12\x13ordered by the test")])
def test_mdx_reply(emulator, connector, reply, payload):
    emulator.instance(NAME, mdx_reply=reply)
    with connector.connect(NAME, admin_token(emulator)) as sock:
        sock.sendall(mdx(b"\x10\x01") + wire.SSL_REQUEST)
        assert wire.Wire(sock).exactly(len(payload) + 13) == mdx(payload) + b"N"


@pytest.mark.parametrize("frame", [b"CSQLMDEY0000", b"CSQLMDEX\x00\x00\x40\x01", mdx(b"\x10\x09"), mdx(b"\xff")])
def test_bad_mdx_frames_end_the_connection(emulator, connector, frame):
    with connector.connect(NAME, admin_token(emulator)) as sock:
        sock.sendall(frame)
        assert sock.recv(1) == b""
    assert emulator.logins() == []


def test_encryption_requests_are_answered_n(emulator, connector):
    with connector.connect(NAME, admin_token(emulator)) as sock:
        for request in (wire.GSSENC_REQUEST, wire.SSL_REQUEST):
            sock.sendall(request)
            assert sock.recv(16) == b"N"
        sock.sendall(wire.startup(user="alice", database="postgres"))
        assert wire.Wire(sock).read()[0] == "R"
    assert emulator.logins()[-1]["ssl_requests"] == 2


# -- logins


def test_password_user_is_asked_for_scram(emulator, connector):
    with connector.connect(NAME, admin_token(emulator)) as sock:
        client = wire.Wire(sock)
        client.send(wire.startup(user="alice", database="postgres", application_name="probe"))
        kind, body = client.read()
        assert kind == "R" and body.startswith(b"\x00\x00\x00\x0aSCRAM-SHA-256\0")
    login = emulator.logins()[-1]
    assert (login["kind"], login["user"], login["application_name"]) == ("password", "alice", "probe")


def test_iam_principal_is_let_in_without_a_password(emulator, connector):
    with connector.connect(NAME, admin_token(emulator), login_token(emulator)) as sock:
        client = wire.Wire(sock)
        client.login(user=ROLE, database="postgres")
        client.send(wire.query("select current_user"))
        rows = [body for kind, body in client.read_until("Z") if kind == "D"]
        assert rows[0].endswith(ROLE.encode())
    login = emulator.logins()[-1]
    assert (login["kind"], login["principal"]) == ("iam", PRINCIPAL)


@pytest.mark.parametrize("change", ["none", "other principal", "no login right", "manual"])
def test_iam_role_without_the_principal_needs_its_token_as_password(emulator, connector, change):
    """Cloud SQL asks for a password then (cloudsql.md 4.3); a login token is one, nothing else is."""
    login = {"other principal": login_token(emulator, "other@my-project.iam.gserviceaccount.com"),
             "no login right": login_token(emulator)}.get(change)
    if change == "no login right":
        emulator.post("principals", email=PRINCIPAL, login=False)
    with connector.connect(NAME, admin_token(emulator), login) as sock:
        client = wire.Wire(sock)
        client.send(wire.startup(user=ROLE, database="postgres"))
        assert client.read() == ("R", b"\x00\x00\x00\x03")
        client.send(wire.password(login_token(emulator) if change in ("manual", "no login right") else "guess"))
        last = client.read_until("Z", "E")[-1]
        if change == "manual":
            assert last[0] == "Z"
            assert emulator.logins()[-1]["kind"] == "manual_iam"
        else:
            assert wire.error_fields(last[1])["C"] == "28P01"
            assert emulator.logins()[-1]["kind"] == "refused"
            assert sock.recv(1) == b""


def test_iam_can_be_off(emulator, connector):
    emulator.instance(NAME, iam=False)
    with connector.connect(NAME, admin_token(emulator), login_token(emulator)) as sock:
        client = wire.Wire(sock)
        client.send(wire.startup(user=ROLE, database="postgres"))
        assert client.read()[1].startswith(b"\x00\x00\x00\x0aSCRAM-SHA-256\0")


def iam_session(emulator, connector):
    sock = connector.connect(NAME, admin_token(emulator), login_token(emulator))
    client = wire.Wire(sock)
    return client, client.login(user=ROLE, database="postgres")


def wait_event(postgres):
    return postgres.sql("select wait_event from pg_stat_activity where usename = %s", (ROLE,))


def test_cancel_request_is_relayed(emulator, connector, postgres):
    client, messages = iam_session(emulator, connector)
    key = next(body for kind, body in messages if kind == "K")
    client.send(wire.query("select pg_sleep(60)"))
    eventually(lambda: wait_event(postgres) == [("PgSleep",)], "the query runs")
    with connector.connect(NAME, admin_token(emulator)) as side:
        side.sendall(wire.cancel_request(int.from_bytes(key[:4], "big"), key[4:]))
        assert side.recv(1) == b""
    assert wire.error_fields(client.read_until("E")[-1][1])["C"] == "57014"
    assert emulator.logins()[-1]["kind"] == "cancel"
    client.sock.close()


def test_close_notify_when_postgres_closes(emulator, connector, postgres):
    client, _ = iam_session(emulator, connector)
    pid = postgres.sql("select pid from pg_stat_activity where usename = %s", (ROLE,))[0][0]
    postgres.sql("select pg_terminate_backend(%s)", (pid,))
    kind, body = client.read()
    assert kind == "E" and wire.error_fields(body)["C"] == "57P01"
    assert ending(client.sock) == "close_notify"
    client.sock.close()


def test_backend_leaves_with_its_client(emulator, connector, postgres):
    client, _ = iam_session(emulator, connector)
    client.sock.close()
    eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = %s", (ROLE,)) == [(0,)],
               "the backend ends")
    eventually(lambda: emulator.open_connections() == 0, "the connection is forgotten")


# -- the relay under load


def test_a_gibibyte_passes_in_bounded_memory(emulator, connector, postgres):
    client, _ = iam_session(emulator, connector)
    client.send(wire.query("copy (select repeat('x', 4095) from generate_series(1, 262144)) to stdout"))
    client.sock.settimeout(120)
    # A reader that stops stops its writer: PostgreSQL waits for the client, and the emulator holds one chunk.
    eventually(lambda: wait_event(postgres) == [("ClientWrite",)], "the server waits for its client")
    total, tail = 0, b""
    while not tail.endswith(b"Z\x00\x00\x00\x05I"):
        piece = client.sock.recv(1 << 18)
        assert piece
        total += len(piece)
        tail = (tail + piece)[-6:]
    assert total > 1 << 30
    assert peak_memory_kib(emulator.process.pid) < memory_limit_kib(emulator.process.pid)
    client.sock.close()


def test_a_large_copy_in_passes(emulator, connector, postgres):
    client, _ = iam_session(emulator, connector)
    client.send(wire.query("create temp table t (a text); copy t from stdin"))
    client.read_until("G")
    chunk = wire.message("d", (b"y" * 8191 + b"\n") * 16)
    for _ in range(2048):
        client.send(chunk)
    client.send(wire.message("c"))
    done = client.read_until("Z")
    assert ("C", b"COPY 32768\0") in done
    assert peak_memory_kib(emulator.process.pid) < memory_limit_kib(emulator.process.pid)
    client.sock.close()


def memory_limit_kib(pid):
    """A sanitizer keeps freed memory and shadows all of it."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return (1024 if "libasan" in maps.read() else 64) * 1024


def test_hundreds_of_connections(emulator, connector):
    token = admin_token(emulator)
    context = connector.context(connector.settings(NAME, token)["serverCaCert"]["cert"],
                                connector.certificate(NAME, token))
    open_ones = [connector.dial(emulator.addresses[NAME], context) for _ in range(300)]
    emulator.wait_count("handshake", 300)
    assert emulator.get("connections") == {NAME: 300}
    assert emulator.kill_connections("close_notify", NAME) == 300
    assert {ending(sock) for sock in open_ones} == {"close_notify"}
    for sock in open_ones:
        sock.close()


# -- faults of 3307


def test_refuse_and_return(emulator, connector):
    token = admin_token(emulator)
    emulator.side("refuse", NAME)
    with pytest.raises(ConnectionRefusedError):
        connector.connect(NAME, token)
    emulator.side("none", NAME)
    connector.connect(NAME, token).close()


def test_moved_address(emulator, connector):
    from lib.ports import loopback_address
    token = admin_token(emulator)
    old, new = emulator.addresses[NAME], loopback_address()
    client, _ = iam_session(emulator, connector)
    emulator.instance(NAME, address=new)
    with pytest.raises(ConnectionRefusedError):
        connector.connect(NAME, token, address=old)
    connector.connect(NAME, token).close()
    client.send(wire.query("select 1"))  # what was established stays
    assert client.read_until("Z")
    client.sock.close()


def test_hang(emulator, connector):
    emulator.side("hang", NAME)
    with socket.create_connection((emulator.addresses[NAME], 3307), timeout=0.5) as sock:
        with pytest.raises(TimeoutError):
            context = ssl.create_default_context()
            context.wrap_socket(sock, server_hostname="x")
    eventually(lambda: emulator.open_connections() == 0, "the hung connection is dropped with its client")


@pytest.mark.parametrize("mode,how", [
    ("reset_after_handshake", "reset"), ("close_after_handshake", "fin"),
    ("alert_bad_certificate", "SSLV3_ALERT_BAD_CERTIFICATE"),
    ("alert_certificate_revoked", "SSLV3_ALERT_CERTIFICATE_REVOKED"),
    ("alert_certificate_expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED"), ("alert_unknown_ca", "TLSV1_ALERT_UNKNOWN_CA")])
def test_end_after_the_handshake_once(emulator, connector, mode, how):
    token = admin_token(emulator)
    emulator.side(mode, NAME, times=1)
    with connector.connect(NAME, token) as sock:
        assert ending(sock) == how
    with connector.connect(NAME, token) as sock:
        sock.sendall(wire.SSL_REQUEST)
        assert sock.recv(1) == b"N"


@pytest.mark.parametrize("order,how", [("reset", "reset"), ("close", "fin"), ("close_notify", "close_notify")])
def test_kill(emulator, connector, order, how):
    client, _ = iam_session(emulator, connector)
    assert emulator.kill_connections(order) == 1
    assert ending(client.sock) == how
    client.sock.close()


def test_stall_and_delay(emulator, connector):
    client, _ = iam_session(emulator, connector)
    emulator.side("none", NAME, stall=True)
    client.send(wire.query("select 1"))
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    client.sock.settimeout(30)
    emulator.side("none", NAME, stall=False, relay_delay_ms=150)
    client.read_until("Z")
    begun = time.monotonic()
    client.send(wire.query("select 1"))
    client.read_until("Z")
    assert time.monotonic() - begun >= 0.3
    client.sock.close()


# -- the program


def test_unreachable_postgres_is_a_clean_close(connector):
    with Emulator(None, more=["--postgres", "127.0.0.1:1"]) as lonely, Connector(lonely) as other:
        with other.connect(NAME, lonely.token(PRINCIPAL)) as sock:
            sock.sendall(wire.startup(user="alice", database="postgres"))
            assert sock.recv(1) == b""
        assert lonely.count("postgres.unreachable") == 1
        assert lonely.process.stop() == 0


def test_sigterm_ends_with_0_whatever_is_open(postgres):
    with Emulator(postgres) as short, Connector(short) as other:
        token = short.token(PRINCIPAL)
        short.faults("connectSettings", {"status": 0}, {"hold": True})
        with other.connect(NAME, token) as sock:

            def call():
                try:
                    other.settings(NAME, token)
                except OSError:
                    pass

            held = threading.Thread(target=call)
            held.start()
            short.wait_count("arrived.connectSettings", 2)
            assert short.process.stop(timeout=10) == 0, short.process.output()
            with pytest.raises(OSError):
                sock.recv(1)
            held.join(10)
            assert not held.is_alive()


@pytest.mark.parametrize("arguments,complaint", [
    (["--instance", "nonsense=127.0.0.1"], "project:region:instance"),
    (["--postgres", "nowhere"], "no port"),
    (["--instance", "a:b:c=127.0.0.1,x=y"], "does not know"),
    (["--frobnicate"], "frobnicate")])
def test_bad_command_lines_are_explained(arguments, complaint):
    from lib import paths
    from lib.process import Process
    with Process([paths.emulator(), *arguments]) as process:
        assert process.wait() == 1
        assert complaint in process.output("err")
