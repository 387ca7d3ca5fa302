"""tests/e2e/test_credentials.py -- every kind of credential of cloudsql.md 5, and that no secret gets out."""
import json
import os
import signal
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg2
import pytest

from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, PLATFORM_SCOPE, Emulator
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import eventually
from lib.wire import Wire, error_fields, startup
from lib.wire import password as password_message

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"
FEDERATED = "ksa@my-project.iam.gserviceaccount.com"
HUMAN = "alice@example.com"
SUBJECT = "subject-token-s3cret"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("bob", "secret")
        server.create_role(ROLE)
        server.create_role(HUMAN)
        server.create_role("ksa@my-project.iam")
        yield server


@pytest.fixture(scope="module")
def module_emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        for email in (FEDERATED, HUMAN):
            running.post("principals", email=email)
        running.post("subject-tokens", subject_token=SUBJECT, principal=FEDERATED)
        running.post("subject-tokens", subject_token="ASIAEMULATOR", principal=FEDERATED)
        yield running


@pytest.fixture
def emulator(module_emulator):
    module_emulator.clear_faults()
    module_emulator.reset_records()
    yield module_emulator
    module_emulator.clear_faults()
    module_emulator.post("principals", email=PRINCIPAL, connect=True, login=True, impersonators=[])


def secrets_in(value):
    """Every string of a credentials file that must not be seen anywhere."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("private_key", "client_secret", "refresh_token") and item:
                # A key in a log would be cut into lines.
                yield from item.splitlines()[1:3] if key == "private_key" else [item]
            else:
                yield from secrets_in(item)


class Service(Proxy):
    """sidepool with IAM logins, whose output is searched for secrets when it ends."""

    def __init__(self, emulator, *flags, credentials=None, folder=None, env=None, secrets=(), iam=True):
        self.port = free_port()
        self.secrets = list(secrets) + list(secrets_in(credentials))
        environment = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, **(env or {})}
        if credentials is not None:
            self.file = folder / "credentials.json"
            self.file.write_text(json.dumps(credentials))
            flags = (f"--credentials-file={self.file}", *flags)
        super().__init__([f"--port={self.port}", "--debug-logs", *(["--auto-iam-authn"] if iam else []), *flags, NAME],
                         env=environment)

    def current_user(self, user=ROLE, password=None):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=user, dbname="postgres",
                                      password=password, connect_timeout=60)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select current_user")
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def __exit__(self, *details):
        super().__exit__(*details)
        for secret in self.secrets:
            assert secret not in self.output(), "a secret is in the log"


def scopes(emulator, api):
    return sorted(request["details"]["scopes"] for request in emulator.requests(api))


def calls_to_the_api(emulator):
    requests = emulator.requests("connectSettings") + emulator.requests("generateEphemeralCert")
    return {request["principal"] for request in requests}


def external(emulator, source, impersonate=None, kind="urn:ietf:params:oauth:token-type:jwt"):
    out = {"type": "external_account", "subject_token_type": kind, "token_url": f"{emulator.url}/v1/token",
           "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
           "credential_source": source}
    if impersonate:
        out["service_account_impersonation_url"] = impersonation_url(emulator, impersonate)
    return out


def impersonation_url(emulator, email):
    return f"{emulator.url}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"


def principal_line(email, role):
    return f"the principal is {email}; its PostgreSQL role for IAM logins is {role}"


def test_a_service_accounts_key(emulator, tmp_path):
    with Service(emulator, credentials=emulator.service_account(PRINCIPAL), folder=tmp_path) as service:
        assert service.current_user() == ROLE
        assert scopes(emulator, "token") == [[ADMIN_SCOPE], [LOGIN_SCOPE]]
        assert calls_to_the_api(emulator) == {PRINCIPAL}
        assert len(service.find(f'Authorizing with the credentials file at "{service.file}"')) == 1
        assert len(service.find(principal_line(PRINCIPAL, ROLE))) == 1


def test_no_login_token_without_iam(emulator, tmp_path):
    account = emulator.service_account(PRINCIPAL)
    with Service(emulator, credentials=account, folder=tmp_path, iam=False) as service:
        assert service.current_user("bob", "secret") == "bob"
        assert scopes(emulator, "token") == [[ADMIN_SCOPE]]
        assert emulator.requests("generateEphemeralCert")[0]["details"]["has_access_token"] is False


def test_json_credentials_in_the_environment(emulator):
    account = json.dumps(emulator.service_account(PRINCIPAL))
    with Service(emulator, env={"CSQL_PROXY_JSON_CREDENTIALS": account},
                 secrets=secrets_in(json.loads(account))) as service:
        assert service.current_user() == ROLE
        assert service.find("Authorizing with JSON credentials environment variable")


def test_application_default_credentials_by_variable_and_by_home(emulator, tmp_path):
    account = tmp_path / "sa.json"
    account.write_text(json.dumps(emulator.service_account(PRINCIPAL)))
    home = tmp_path / "home"
    (home / ".config/gcloud").mkdir(parents=True)
    user = {**emulator.post("users", email=HUMAN), "token_uri": f"{emulator.url}/token"}
    (home / ".config/gcloud/application_default_credentials.json").write_text(json.dumps(user))
    with Service(emulator, env={"HOME": str(home)}, secrets=secrets_in(user)) as service:
        assert service.find("Authorizing with Application Default Credentials")
        assert service.current_user(HUMAN) == HUMAN
        # A person's file has no e-mail in it: asked of tokeninfo.
        service.wait_line(principal_line(HUMAN, HUMAN))
        assert emulator.count("tokeninfo") == 1
    emulator.reset_records()
    with Service(emulator, env={"HOME": str(home), "GOOGLE_APPLICATION_CREDENTIALS": str(account)}) as service:
        assert service.current_user() == ROLE
        assert calls_to_the_api(emulator) == {PRINCIPAL}


def test_a_token_of_the_command_line(emulator):
    admin = emulator.token(PRINCIPAL, [ADMIN_SCOPE])
    login = emulator.token(PRINCIPAL, [LOGIN_SCOPE])
    with Service(emulator, f"--token={admin}", f"--login-token={login}", secrets=[admin, login]) as service:
        assert service.find("Authorizing with OAuth2 token")
        assert service.current_user() == ROLE
        service.wait_line(principal_line(PRINCIPAL, ROLE))
        assert not [r for r in emulator.requests() if admin in json.dumps(r)], "not in an URL either"


def test_an_impersonated_service_account(emulator, tmp_path):
    source = emulator.service_account(FEDERATED)
    middle = "middle@my-project.iam.gserviceaccount.com"
    emulator.post("principals", email=middle, impersonators=[FEDERATED])
    emulator.post("principals", email=PRINCIPAL, impersonators=[middle])
    credentials = {"type": "impersonated_service_account", "source_credentials": source,
                   "delegates": [f"projects/-/serviceAccounts/{middle}"],
                   "service_account_impersonation_url": impersonation_url(emulator, PRINCIPAL)}
    with Service(emulator, credentials=credentials, folder=tmp_path) as service:
        assert service.current_user() == ROLE
        assert scopes(emulator, "token") == [[PLATFORM_SCOPE]]
        assert scopes(emulator, "generateAccessToken") == [[ADMIN_SCOPE], [LOGIN_SCOPE]]
        assert {tuple(r["details"]["delegates"]) for r in emulator.requests("generateAccessToken")} == {(middle,)}
        assert calls_to_the_api(emulator) == {PRINCIPAL}
        assert service.find(principal_line(PRINCIPAL, ROLE))


def test_impersonation_by_flag(emulator, tmp_path):
    """The target comes first; the chain runs from the last delegate to it (cloudsql.md 4.5)."""
    near, far = "near@my-project.iam.gserviceaccount.com", "far@my-project.iam.gserviceaccount.com"
    emulator.post("principals", email=far, impersonators=[FEDERATED])
    emulator.post("principals", email=near, impersonators=[far])
    emulator.post("principals", email=PRINCIPAL, impersonators=[near])
    with Service(emulator, f"--impersonate-service-account={PRINCIPAL},{near},{far}",
                 credentials=emulator.service_account(FEDERATED), folder=tmp_path,
                 env={"CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS": emulator.url}) as service:
        assert service.current_user() == ROLE
        assert service.find(f'Impersonating service account with the credentials file at "{service.file}"')
        assert emulator.requests("generateAccessToken")[0]["details"]["delegates"] == [far, near]
        assert calls_to_the_api(emulator) == {PRINCIPAL}


def test_an_impersonation_that_is_not_allowed_names_the_role_that_lacks(emulator, tmp_path):
    emulator.post("principals", email=PRINCIPAL, impersonators=["nobody@my-project.iam.gserviceaccount.com"])
    credentials = {"type": "impersonated_service_account", "source_credentials": emulator.service_account(FEDERATED),
                   "service_account_impersonation_url": impersonation_url(emulator, PRINCIPAL)}
    with Service(emulator, credentials=credentials, folder=tmp_path) as service:
        line = service.wait_line("cannot impersonate the service account: IAM Credentials: Error 403")
        assert "roles/iam.serviceAccountTokenCreator" in line.string


@pytest.mark.parametrize("source", ["file", "json file", "url", "executable", "aws environment", "aws machine"])
@pytest.mark.parametrize("impersonate", [False, True])
def test_an_external_account(emulator, tmp_path, source, impersonate):
    kind = "urn:ietf:params:oauth:token-type:jwt"
    env, server = {}, None
    if source == "file":
        (tmp_path / "token").write_text(SUBJECT + "\n")
        origin = {"file": str(tmp_path / "token")}
    elif source == "json file":
        (tmp_path / "token").write_text(json.dumps({"tok": SUBJECT}))
        origin = {"file": str(tmp_path / "token"), "format": {"type": "json", "subject_token_field_name": "tok"}}
    elif source == "url":
        server = identity_provider()
        origin = {"url": f"http://127.0.0.1:{server.server_port}/id", "headers": {"Metadata": "header-s3cret"}}
    elif source == "executable":
        program = tmp_path / "idp"
        reply = {"version": 1, "success": True, "token_type": kind, "id_token": SUBJECT}
        program.write_text(f"#!/bin/sh\n[ \"$1\" = --now ] && cat <<'END'\n{json.dumps(reply)}\nEND\n")
        program.chmod(0o700)
        origin = {"executable": {"command": f"{program} --now", "timeout_millis": 20000}}
        env = {"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1"}
    else:
        kind = "urn:ietf:params:aws:token-type:aws4_request"
        base = f"{emulator.url}/latest"
        origin = {"environment_id": "aws1", "region_url": f"{base}/meta-data/placement/availability-zone",
                  "url": f"{base}/meta-data/iam/security-credentials", "imdsv2_session_token_url": f"{base}/api/token"}
        if source == "aws environment":
            env = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "ASIAEMULATOR",
                   "AWS_SECRET_ACCESS_KEY": "aws-env-s3cret", "AWS_SESSION_TOKEN": "aws-session-s3cret"}
    credentials = external(emulator, origin, PRINCIPAL if impersonate else None, kind)
    role = ROLE if impersonate else "ksa@my-project.iam"
    secrets = [SUBJECT, "header-s3cret", "aws-env-s3cret", "aws-session-s3cret", "emulated-aws-secret-key",
               "emulated-aws-session", "emulated-imds-session"]
    try:
        with Service(emulator, credentials=credentials, folder=tmp_path, env=env, secrets=secrets) as service:
            assert service.current_user(role) == role
            wanted = [[ADMIN_SCOPE], [LOGIN_SCOPE]]
            if impersonate:
                assert scopes(emulator, "sts") == [[PLATFORM_SCOPE]]
                assert scopes(emulator, "generateAccessToken") == wanted
                assert service.find(principal_line(PRINCIPAL, ROLE))
            else:
                assert scopes(emulator, "sts") == wanted
                service.wait_line("the e-mail of the principal is not known")
            assert calls_to_the_api(emulator) == {PRINCIPAL if impersonate else FEDERATED}
            assert emulator.count("aws") == (0 if source != "aws machine" else (4 if impersonate else 8))
    finally:
        if server:
            server.shutdown()
            server.server_close()


def identity_provider():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            fits = self.headers["Metadata"] == "header-s3cret"
            self.send_response(200 if fits else 403)
            self.end_headers()
            self.wfile.write(SUBJECT.encode() if fits else b"")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_an_executable_needs_leave(emulator, tmp_path):
    origin = {"executable": {"command": "/bin/false"}}
    with Service(emulator, credentials=external(emulator, origin), folder=tmp_path) as service:
        service.wait_line("set GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1 to allow it")
        assert emulator.count("sts") == 0


def gcloud(folder, reply, code=0):
    program = folder / "gcloud"
    program.write_text("#!/bin/sh\n"
                       '[ "$*" = "--format json config config-helper --min-expiry 1h" ] || exit 9\n'
                       f"cat <<'END'\n{reply}\nEND\necho 'gcloud says hello' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_gcloud(emulator, tmp_path):
    token = emulator.token(HUMAN, [PLATFORM_SCOPE])
    reply = {"configuration": {"properties": {"core": {"account": HUMAN}}},
             "credential": {"access_token": token, "token_expiry": "2126-01-01T00:00:00Z"}}
    with Service(emulator, "--gcloud-auth", env=gcloud(tmp_path, json.dumps(reply)), iam=False,
                 secrets=[token]) as service:
        assert service.find("Authorizing with gcloud user credentials")
        assert service.current_user("bob", "secret") == "bob"
        assert calls_to_the_api(emulator) == {HUMAN}
        service.wait_line(principal_line(HUMAN, HUMAN))
        assert emulator.count("tokeninfo") == 0, "gcloud has said it"


def test_gcloud_does_not_outlive_us(tmp_path):
    seen = tmp_path / "pid"
    program = tmp_path / "gcloud"
    program.write_text(f"#!/bin/sh\necho $$ > {seen}.new\nmv {seen}.new {seen}\nexec sleep 1000\n")
    program.chmod(0o755)
    with Proxy(["--gcloud-auth", "--sqladmin-api-endpoint", "http://127.0.0.1:1", "--port", str(free_port()), NAME],
               env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as proxy:
        eventually(seen.exists, "it runs")
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 143
    eventually(lambda: not os.path.exists(f"/proc/{seen.read_text().strip()}/exe"), "it has gone with us")


def test_gcloud_that_fails_is_quoted(emulator, tmp_path):
    with Service(emulator, "--gcloud-auth", env=gcloud(tmp_path, "printed-s3cret", 1), iam=False,
                 secrets=["printed-s3cret"]) as service:
        service.wait_line("gcloud config config-helper failed with exit code 1; stderr was: gcloud says hello")


def test_a_new_key_in_the_file_is_used(emulator, tmp_path):
    """As Kubernetes renews a mounted secret: the next file is moved over the old one."""
    first = emulator.service_account(PRINCIPAL)
    with Service(emulator, credentials=first, folder=tmp_path) as service:
        assert service.current_user() == ROLE

        def move(text):
            (tmp_path / "next").write_text(text)
            (tmp_path / "next").rename(service.file)

        def fetch_anew():
            """The instance refuses its certificate, so another one is needed, and for that tokens are looked at."""
            emulator.rotate(NAME, "client_ca", keep_old=False)
            emulator.kill_connections("reset")

        move('{"type": "service_account", "private_key": "half-written-s3cret')
        service.secrets.append("half-written-s3cret")
        fetch_anew()
        assert eventually(lambda: login(service, ROLE), "logins go on with the old key")
        service.wait_line("has changed but cannot be used, so the old credentials stay")

        second = emulator.service_account(FEDERATED)
        service.secrets += secrets_in(second)
        move(json.dumps(second))
        fetch_anew()
        assert eventually(lambda: login(service, "ksa@my-project.iam"), "the new principal logs in")
        service.wait_line("has changed and was read again")
        service.wait_line(principal_line(FEDERATED, "ksa@my-project.iam"))


def login(service, user):
    try:
        return service.current_user(user, "none") == user
    except psycopg2.OperationalError:
        return False


def refusal(port, user, password):
    """Fields of the ErrorResponse that ends a login with a password."""
    import socket
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        wire = Wire(sock)
        wire.send(startup(user=user, database="postgres"))
        kind, body = wire.read()
        while kind == "R" and body == b"\0\0\0\3":
            wire.send(password_message(password))
            kind, body = wire.read()
        assert kind == "E", kind
        return error_fields(body)


def test_another_iam_role_is_told_which_one_fits(emulator, tmp_path):
    with Service(emulator, credentials=emulator.service_account(PRINCIPAL), folder=tmp_path) as service:
        fields = refusal(service.port, HUMAN, "wrong")
        assert fields["C"].startswith("28")
        assert fields["H"] == f'The IAM principal here is "{PRINCIPAL}": log in as "{ROLE}".'
        warning = service.wait_line("a client logs in as an IAM user whose credentials these are not").string
        assert HUMAN in warning and ROLE in warning
        assert "H" not in refusal(service.port, "bob", "wrong"), "whoever has a password is none of its business"
        # Nothing is refused here: who brings a token of their own is let in (manual IAM).
        assert service.current_user(HUMAN, emulator.token(HUMAN, [LOGIN_SCOPE])) == HUMAN
