"""tests/e2e/test_side_by_side_api.py -- what Google sees of its own proxy and of sidepool: calls, their order and number, their
form; and what Prometheus sees (cloudsql.md 1.5, 3, 4, 5, 7.4)."""
import contextlib
import json
import re

import psycopg2
import pytest

from lib import peers
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, Emulator
from lib.postgres import Postgres
from lib.side_by_side import NAME, OTHER, PRINCIPAL, PROBES, ROLE, Running, installed
from lib.sidepool import http_get
from lib.waiting import eventually

DOMAIN = "google.com:my-project:us-central1:my-postgres"
CAS = "my-project:us-central1:cas"
# A start, then one login.
API = ("connectSettings", "generateEphemeralCert", "resolveConnectSettings")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return peers.auth_proxy(), installed(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def postgres(programs):
    with Postgres() as server:
        server.create_role("alice", "secret")
        server.create_role(ROLE)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, {NAME: "", OTHER: "", DOMAIN: "", CAS: "mode=cas,dns=db.example.com"}, principal=PRINCIPAL) as running:
        yield running


def who(running, user="alice", password="secret", port=None):
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port or running.port, user=user, password=password,
                                             dbname="postgres", connect_timeout=60)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select current_user")
            return cursor.fetchone()[0]


def same(programs, emulator, see, prepare=None):
    """`see` of both programs, each with a fresh record."""
    results = []
    for program in programs:
        emulator.reset_records()
        if prepare:
            prepare()
        results.append(see(program))
    assert results[0] == results[1]
    return results[0]


def calls(emulator):
    """(api, path, query) of all calls, sorted: Google's proxy makes the two of a refresh at once."""
    return sorted((request["api"], request["path"], request["query"]) for request in emulator.requests() if request["api"] in API)


# -- number and order


@pytest.mark.parametrize("names", [[NAME], [DOMAIN], [NAME, OTHER]], ids=["one", "domain-scoped", "two"])
def test_calls_of_a_start_and_a_login(programs, emulator, names):
    def see(program):
        with Running(program, emulator, names=names) as running:
            emulator.wait_count("generateEphemeralCert.ok", len(names))
            assert who(running) == "alice"
        return calls(emulator)

    found = same(programs, emulator, see)
    assert len(found) == 2 * len(names)
    if names == [DOMAIN]:
        assert all("projects/google.com%3Amy-project/instances/my-postgres" in path for _, path, _ in found)


def test_no_call_without_need(programs, emulator):
    """Ten logins and ten failed logins cost nothing."""
    def see(program):
        with Running(program, emulator) as running:
            for _ in range(10):
                assert who(running) == "alice"
                with pytest.raises(psycopg2.OperationalError):
                    who(running, password="wrong")
        return calls(emulator)

    assert len(same(programs, emulator, see)) == 2


def test_order_of_the_two_calls(programs, emulator):
    """sidepool makes one after the other, so that a refusal costs one. Google's proxy makes both at once: whether the second
    has gone out when the first is refused is a matter of its key's making."""
    emulator.faults("connectSettings", {"status": 403, "times": -1})
    with Running(programs[1], emulator) as running:
        with pytest.raises(psycopg2.OperationalError):
            who(running)
    assert emulator.count("generateEphemeralCert") == 0  # deviation: api-order


@pytest.mark.parametrize("flags", [["--lazy-refresh"], []], ids=["lazy", "ahead"])
def test_start_and_refresh(programs, emulator, flags):
    """--lazy-refresh asks when the first client comes; Google's proxy with probes soon after its start, unless a client comes
    before."""
    early = []

    def see(program):
        with Running(program, emulator, *flags, *PROBES) as running:
            if not flags:
                emulator.wait_count("generateEphemeralCert.ok", 1)
            eventually(lambda: http_get(running.http, "/readiness") == (200, "ok"), "it is ready")
            early.append(len(calls(emulator)))
            who(running)
            return len(calls(emulator))

    assert same(programs, emulator, see) == 2
    assert early[1] == (0 if flags else 2)  # deviation: api-early
    assert flags or early[0] == 2


def test_a_certificate_that_is_over_is_replaced(programs, emulator):
    emulator.instance(NAME, cert_lifetime_s=2)

    def see(program):
        with Running(program, emulator, "--lazy-refresh") as running:
            who(running)
            first = emulator.logins()[-1]["client_cert_sha256"]
            eventually(lambda: who(running) and emulator.logins()[-1]["client_cert_sha256"] != first or None, "a new certificate")
            return True

    # sidepool's pool keeps its server while it lives, whatever its certificate; each program replaces it for a new one.
    google, _ = programs
    emulator.reset_records()
    assert see(google)


# -- form


def test_headers_and_body(programs, emulator):
    def see(program):
        with Running(program, emulator, "--quota-project", "quota", "--user-agent", "mine/1") as running:
            who(running)
        form = {}
        for request in emulator.requests():
            if request["api"] not in API:
                continue
            headers, details = request["headers"], request["details"] or {}
            form[request["api"]] = (request["method"], headers.get("Content-Type"), headers.get("X-Goog-User-Project"),
                                    headers["Authorization"], headers["User-Agent"].split()[-1], bool(headers.get("X-Goog-Api-Client")),
                                    details.get("has_access_token"), details.get("public_key_label"))
        return form

    form = same(programs, emulator, see)
    assert form["connectSettings"][2] == "quota" and form["generateEphemeralCert"][4] == "mine/1"


@pytest.mark.parametrize("endpoint", ["{url}", "{url}/"])
def test_endpoint_with_and_without_a_slash(programs, emulator, endpoint):
    def see(program):
        with Running(program, emulator, "--sqladmin-api-endpoint", endpoint.replace("{url}", emulator.url)) as running:
            who(running)
        return calls(emulator)

    assert len(same(programs, emulator, see)) == 2


def test_mdx_by_listener_type(programs, emulator):
    def see(program):
        import tempfile
        with tempfile.TemporaryDirectory(prefix="sp-") as folder:
            with Running(program, emulator) as running:
                who(running)
            with Running(program, emulator, "--unix-socket", folder, port=False):
                psycopg2.connect(host=f"{folder}/{NAME}", user="alice", password="secret", dbname="postgres").close()
        return [login["mdx"] for login in emulator.logins()]

    assert same(programs, emulator, see) == ["tcp", "uds"]


# -- credentials


def key_file(folder, content):
    path = folder / "credentials.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def sources(emulator, folder, kind):
    """Arguments and environment for one source of credentials of the principal."""
    account = emulator.service_account(PRINCIPAL)
    if kind == "file":
        return ["--credentials-file", key_file(folder, account)], {}
    if kind == "json":
        return ["--json-credentials", json.dumps(account)], {}
    if kind == "variable":
        return [], {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file(folder, account))}
    if kind == "gcloud-folder":
        adc = folder / ".config" / "gcloud"
        adc.mkdir(parents=True, exist_ok=True)
        (adc / "application_default_credentials.json").write_text(json.dumps(account), encoding="utf-8")
        return [], {"HOME": str(folder)}
    if kind == "metadata":
        return [], {"GCE_METADATA_HOST": emulator.host}
    if kind == "impersonated":
        emulator.post("principals", email=PRINCIPAL, impersonators=["source@my-project.iam.gserviceaccount.com"])
        return ["--credentials-file", key_file(folder, {
            "type": "impersonated_service_account", "delegates": [],
            "service_account_impersonation_url": f"{emulator.url}/v1/projects/-/serviceAccounts/{PRINCIPAL}:generateAccessToken",
            "source_credentials": emulator.service_account("source@my-project.iam.gserviceaccount.com")})], {}
    if kind in ("external-file", "external-url"):
        emulator.post("subject-tokens", subject_token="a-projected-token", principal=PRINCIPAL)
        subject = folder / "subject"
        subject.write_text("a-projected-token", encoding="ascii")
        return ["--credentials-file", key_file(folder, {
            "type": "external_account", "token_url": f"{emulator.url}/v1/token",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {"file": str(subject)}})], {}
    if kind == "gcloud":
        program = folder / "gcloud"
        token = emulator.token(PRINCIPAL)
        program.write_text('#!/bin/sh\necho "$*" >> "$0.calls"\ncat <<END\n' + json.dumps(
            {"credential": {"access_token": token, "token_expiry": "2099-01-01T00:00:00Z"}}) + "\nEND\n", encoding="utf-8")
        program.chmod(0o755)
        return ["--gcloud-auth"], {"PATH": f"{folder}:/usr/bin:/bin"}
    raise AssertionError(kind)


WITH_IAM = ["file", "json", "variable", "gcloud-folder", "metadata", "impersonated", "external-file"]


@pytest.mark.parametrize("iam", [False, True], ids=["password", "iam"])
@pytest.mark.parametrize("kind", WITH_IAM + ["gcloud"])
def test_sources_of_credentials(programs, emulator, tmp_path, kind, iam):
    if kind == "gcloud" and iam:
        pytest.skip("refused: gcloud's tokens cannot be narrowed")

    def see(program):
        flags, env = sources(emulator, tmp_path, kind)
        if iam:
            flags.append("--auto-iam-authn")
        with Running(program, emulator, *map(str, flags), token=False, env=env) as running:
            name = who(running, ROLE, "anything") if iam else who(running)
            said = next(line for line in running.log_lines("out") if line.startswith("Authorizing"))
        # How often depends on which of two tokens is asked for first.
        scopes = sorted({(request["api"], tuple(request["details"]["scopes"])) for request in emulator.requests()
                         if request["api"] not in API and (request["details"] or {}).get("scopes")})
        access_token = [request["details"]["has_access_token"] for request in emulator.requests("generateEphemeralCert")]
        return name, said, scopes, access_token

    name, _, scopes, access_token = same(programs, emulator, see)
    assert name == (ROLE if iam else "alice") and access_token == [iam]
    asked = [list(scope) for _, scope in scopes]
    assert kind == "gcloud" or (([LOGIN_SCOPE] in asked) == iam and [ADMIN_SCOPE] in asked)


def test_gcloud_is_called_in_the_same_way(programs, emulator, tmp_path):
    def see(program):
        flags, env = sources(emulator, tmp_path, "gcloud")
        record = tmp_path / "gcloud.calls"
        record.unlink(missing_ok=True)
        with Running(program, emulator, *flags, token=False, env=env) as running:
            who(running)
        return set(record.read_text().splitlines())

    assert same(programs, emulator, see) == {"--format json config config-helper --min-expiry 1h"}


@pytest.mark.parametrize("args", [["--credentials-file", "/nonexistent/key.json"], ["--json-credentials", "{"],
                                  ["--json-credentials", '{"type": "strange"}'], ["--json-credentials", "{}"]])
def test_bad_credentials_end_the_start(programs, emulator, args):
    def see(program):
        with Running(program, emulator, *args, token=False, ready=False) as running:
            return running.wait(), bool(running.find("The proxy has encountered a terminal error: |^Error: "))

    assert same(programs, emulator, see) == (1, True)


def test_iam_of_one_instance(programs, emulator):
    """In Google's proxy one ?auto-iam-authn=true changes all instances without a word of their own."""
    def see(program):
        with Running(program, emulator, names=(f"{NAME}?auto-iam-authn=true", OTHER), token=False,
                     env={"GCE_METADATA_HOST": emulator.host}) as running:
            assert who(running, ROLE, "x") == ROLE
            assert who(running, port=running.port + 1) == "alice"
        return {request["path"].rpartition("/")[2].partition(":")[0]: request["details"]["has_access_token"]
                for request in emulator.requests("generateEphemeralCert")}

    results = []
    for program in programs:
        emulator.reset_records()
        results.append(see(program))
    assert results == [{"my-postgres": True, "other": True},
                       {"my-postgres": True, "other": False}]  # deviation: iam-per-instance


def test_static_tokens_with_iam(programs, emulator):
    def see(program):
        login = emulator.token(PRINCIPAL, [LOGIN_SCOPE])
        with Running(program, emulator, "--login-token", login, "--auto-iam-authn") as running:
            return who(running, ROLE, "x")

    assert same(programs, emulator, see) == ROLE


# -- failures


@pytest.mark.parametrize("steps,times", [([{"status": 503, "times": 3}], 4), ([{"status": 500, "times": 1}], 2)])
def test_server_errors_are_asked_again(programs, emulator, steps, times):
    def see(program):
        with Running(program, emulator) as running:
            name = who(running)
        return name, emulator.count("connectSettings")

    assert same(programs, emulator, see, lambda: emulator.faults("connectSettings", *steps)) == ("alice", times)


@pytest.mark.parametrize("fault,error", [
    ({"status": 403}, r"googleapi: Error 403: .*notAuthorized"), ({"status": 404}, r"googleapi: Error 404: .*instanceDoesNotExist"),
    ({"status": 429}, r"googleapi: Error 429: .*rateLimitExceeded")])
def test_refusals_are_told_in_the_same_words(programs, emulator, fault, error):
    def see(program):
        with Running(program, emulator) as running:
            with pytest.raises(psycopg2.OperationalError):
                who(running)
            line = running.wait_line(error, stream="err")[0]
        return re.search(error, line)[0]

    same(programs, emulator, see, lambda: emulator.faults("connectSettings", {**fault, "times": -1}))


@pytest.mark.parametrize("settings,flags,error", [
    ({"region": "europe-west1"}, [], r"config error: provided region was mismatched - got us-central1, want europe-west1"),
    ({"backend_type": "FIRST_GEN"}, [], "config error: unsupported instance - only Second Generation instances are supported"),
    ({}, ["--private-ip"], 'config error: instance does not have IP of type "PRIVATE"'),
    ({}, ["--psc"], 'config error: instance does not have IP of type "PSC"')])
def test_unfit_instances_are_told_in_the_same_words(programs, emulator, settings, flags, error):
    emulator.instance(NAME, **settings)

    def see(program):
        with Running(program, emulator, *flags) as running:
            with pytest.raises(psycopg2.OperationalError):
                who(running)
            running.wait_line(re.escape(error), stream="err")
        return True

    same(programs, emulator, see)


@pytest.mark.parametrize("addresses,flags,works", [
    ({"address": True}, [], True), ({"private_address": True}, ["--private-ip"], True), ({"private_address": True}, [], False),
    ({"address": True}, ["--private-ip"], False), ({"private_address": True}, ["--auto-ip"], True), ({"address": True}, ["--auto-ip"], True),
    ({"private_address": True}, ["--private-ip=true"], True)])
def test_addresses(programs, emulator, addresses, flags, works):
    emulator.instance(NAME, **{kind: emulator.addresses[NAME] if kind in addresses else "" for kind in ("address", "private_address")})

    def see(program):
        with Running(program, emulator, *flags) as running:
            try:
                return who(running) == "alice"
            except psycopg2.OperationalError:
                return False

    assert same(programs, emulator, see) == works


@pytest.mark.parametrize("query,works", [("private-ip", True), ("private-ip=true", True), ("private-ip=T", True), ("private-ip=false", False),
                                         ("psc=false&", False)])
def test_addresses_by_query(programs, emulator, query, works):
    emulator.instance(NAME, address="", private_address=emulator.addresses[NAME])

    def see(program):
        with Running(program, emulator, names=[f"{NAME}?{query}"]) as running:
            try:
                return who(running) == "alice"
            except psycopg2.OperationalError:
                return False

    assert same(programs, emulator, see) == works


def test_own_ip_type_beside_the_flag(programs, emulator):
    """An instance of the public address only: the error tells which one was wanted."""
    def see(program):
        with Running(program, emulator, "--private-ip", names=[f"{NAME}?psc"]) as running:
            with pytest.raises(psycopg2.OperationalError):
                who(running)
            return running.wait_line('does not have IP of type "([A-Z]+)"')[1]

    results = [see(program) for program in programs]
    assert results == ["PRIVATE", "PSC"]  # deviation: psc-of-an-instance


@pytest.mark.parametrize("settings,works", [
    ({}, True), ({"bundle": ["leaf"]}, True), ({"bundle": ["leaf", "intermediate", "root"]}, True), ({"bundle": ["intermediate"]}, True),
    ({"server_cert": "wrong_name"}, False), ({"server_cert": "wrong_ca"}, False), ({"server_cert": "expired"}, False),
    ({"tls": "1.2"}, False)])
@pytest.mark.parametrize("name", [NAME, CAS], ids=["legacy", "cas"])
def test_certificates(programs, emulator, name, settings, works):
    if name == NAME and "intermediate" in settings.get("bundle", []):
        pytest.skip("this hierarchy has no intermediate")
    emulator.instance(name, **settings)

    def see(program):
        with Running(program, emulator, names=[name]) as running:
            try:
                return who(running) == "alice"
            except psycopg2.OperationalError:
                return False

    assert same(programs, emulator, see) == works


# -- metrics


def families(port):
    """name -> (type, help, labels, bounds) of Google's metrics."""
    found, types, helps = {}, {}, {}
    for line in http_get(port, "/metrics")[1].splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            types[name] = kind
        elif line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            helps[name] = text
        elif "cloudsqlconn_" in line and not line.startswith("#"):
            sample = re.fullmatch(r'([a-z_]+)\{(.*)\} \S+', line)
            labels = dict(re.findall(r'([a-z_]+)="([^"]*)"', sample[2]))
            family = re.sub(r"_(bucket|count|sum)$", "", sample[1]) if re.sub(r"_(bucket|count|sum)$", "", sample[1]) in types else sample[1]
            bound = labels.pop("le", None)
            assert re.fullmatch(r"[0-9a-f-]{36}", labels.pop("cloudsql_dialer_id")), line
            known = found.setdefault(family, (types[family], helps[family], [], []))
            if labels not in known[2]:
                known[2].append(labels)
            if bound and bound not in known[3]:
                known[3].append(bound)
    return found


@pytest.mark.parametrize("flags", [[], ["--prometheus-namespace", "mine"]], ids=["plain", "namespace"])
def test_metrics(programs, emulator, flags):
    def see(program):
        with Running(program, emulator, *PROBES, *flags) as running:
            who(running)
            return eventually(lambda: (lambda found: len(found) >= 5 and found)(families(running.http)), "five families")

    found = same(programs, emulator, see)
    prefix = "mine_" if flags else ""
    assert set(found) == {prefix + "cloudsqlconn_" + name for name in
                          ("dial_latency", "open_connections", "refresh_success_count", "bytes_sent", "bytes_received")}
    assert found[prefix + "cloudsqlconn_dial_latency"][3] == ["5", "25", "100", "250", "500", "1000", "2000", "5000", "30000", "+Inf"]


def test_metrics_of_failures(programs, emulator):
    """A refused call has its reason for a label, a dial that failed has none."""
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            with pytest.raises(psycopg2.OperationalError):
                who(running)
            return eventually(lambda: counted(families(running.http)), "both kinds of failure")

    def counted(found):
        # Google's proxy may also count, and count first, a refresh that its own client has cancelled: that one has no code.
        labels = found.get("cloudsqlconn_refresh_failure_count", ("", "", []))[2]
        labels[:] = [one for one in labels if one.get("cloudsql_error_code")]
        return labels and "cloudsqlconn_dial_failure_count" in found and found

    found = same(programs, emulator, see, lambda: emulator.faults("connectSettings", {"status": 403, "reason": "notAuthorized", "times": -1}))
    assert found["cloudsqlconn_refresh_failure_count"][2] == [{"cloudsql_error_code": "notAuthorized", "cloudsql_instance": NAME}]
    assert found["cloudsqlconn_dial_failure_count"][2] == [{"cloudsql_instance": NAME}]


def test_metrics_name_domain_scoped_instances(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES, names=[DOMAIN]) as running:
            who(running)
            found = eventually(lambda: families(running.http).get("cloudsqlconn_open_connections"), "a connection")
            return found[2]

    assert same(programs, emulator, see) == [{"cloudsql_instance": DOMAIN}]
