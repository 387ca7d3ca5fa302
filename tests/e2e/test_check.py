"""tests/e2e/test_check.py -- `sidepool check`: each row, failing and passing, and what is skipped behind a failure."""
import json
import os
import re
import socket
import tempfile

import pytest

from lib.black_hole import black_hole
from lib.check import ROWS, Check
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, Emulator
from lib.ports import free_port, loopback_address
from lib.postgres import Postgres
from lib.sidepool import Proxy

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice", "secret")
        server.create_role(ROLE)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


def check(emulator, *args, env=None, name=NAME, credentials=None):
    given = ["--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE])] if credentials is None else credentials
    return Check("--sqladmin-api-endpoint", emulator.url, "--port", free_port(), *given, *args, name, env=env)


def metadata(emulator):
    return {"GCE_METADATA_HOST": emulator.host}


ALICE = {"PGUSER": "alice", "PGPASSWORD": "secret"}


# -- everything in order


def test_all_green_with_a_password(emulator):
    done = check(emulator, env=ALICE)
    assert done.code == 0, done.output()
    assert list(done.rows) == ["credentials", "access token", *ROWS]
    assert all(outcome == "ok" for found in done.rows.values() for outcome, _ in found), done.output()
    assert "PostgreSQL 15" in done.text("database login")
    assert done.output("out").splitlines()[-1] == "every check has passed"
    assert [login["user"] for login in emulator.logins() if login["user"]] == ["alice"]


def test_all_green_with_iam_names_principal_and_role(emulator):
    done = check(emulator, "--auto-iam-authn", credentials=[], env=metadata(emulator))
    assert done.code == 0, done.output()
    assert PRINCIPAL in done.text("credentials") and f'"{ROLE}"' in done.text("credentials")
    assert done.outcomes("login token") == ["ok"]
    assert f'"{ROLE}" in database "postgres"' in done.text("database login")
    assert emulator.logins()[-1]["kind"] == "iam"


def test_environment_and_file_choose_what_is_checked(emulator, tmp_path):
    file = tmp_path / "sidepool.toml"
    file.write_text(f'[[upstream]]\ninstance = "{NAME}"\nlisten = ["127.0.0.1:{free_port()}"]\n')
    env = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "CSQL_PROXY_TOKEN": emulator.token(PRINCIPAL, [ADMIN_SCOPE])}
    assert Check("--config", file, env={**env, **ALICE}).code == 0
    env["CSQL_PROXY_INSTANCE_CONNECTION_NAME"] = NAME
    assert Check("--port", free_port(), env={**env, **ALICE}).code == 0


def test_login_is_skipped_without_a_user(emulator):
    done = check(emulator)
    assert done.code == 0, done.output()
    assert done.outcomes("database login") == ["skip"]
    assert "PGUSER" in done.text("database login")


def test_two_instances_have_a_section_each(postgres):
    other = "my-project:us-central1:other"
    with Emulator(postgres, [NAME, other], principal=PRINCIPAL) as emulator:
        emulator.side("refuse", other)
        done = check(emulator, f"{other}?port={free_port()}", env=ALICE)  # the port behind the other one may be taken
        assert done.code == 1
        assert done.outcomes("route") == ["FAIL", "ok"]
        assert done.outcomes("database login") == ["skip", "ok"]
        sections = [line for line in done.output("out").splitlines() if not line.startswith(" ")]
        assert sections == ["Google", other, NAME, "1 check has failed"]


# -- names and credentials


def test_bad_instance_name(emulator):
    done = check(emulator, name="my-postgres")
    assert done.code == 1
    assert "PROJECT:REGION:INSTANCE" in done.output("err")


def test_no_instance():
    assert "missing instance_connection_name" in Check().output("err")


def test_credentials_file_is_missing(emulator):
    done = check(emulator, credentials=["--credentials-file", "/nonexistent/key.json"])
    assert done.code == 1 and done.failed() == ["credentials"], done.output()
    assert "/nonexistent/key.json: No such file" in done.text("credentials")
    assert done.outcomes("access token") == ["skip"] and done.outcomes("Admin API") == ["skip"]


def test_token_endpoint_refuses(emulator, tmp_path):
    file = tmp_path / "key.json"
    file.write_text(json.dumps(emulator.service_account(PRINCIPAL)))
    emulator.faults("token", {"status": 400, "times": -1, "body": '{"error":"invalid_grant","error_description":"no key"}'})
    done = check(emulator, credentials=["--credentials-file", file])
    assert done.code == 1 and done.failed() == ["access token"], done.output()
    assert PRINCIPAL in done.text("credentials")
    assert "invalid_grant" in done.text("access token") and "Remedy: Log in again" in done.text("access token")


def test_login_token_is_refused(emulator):
    emulator.faults("metadata.token", {"status": 0}, {"status": 404, "times": -1})
    done = check(emulator, "--auto-iam-authn", credentials=[], env=metadata(emulator))
    assert done.code == 1 and done.failed() == ["login token"], done.output()


# -- the API


SERVICE_DISABLED = json.dumps({"error": {
    "code": 403, "message": "Cloud SQL Admin API has not been used in project 1 before or it is disabled.",
    "errors": [{"reason": "accessNotConfigured", "domain": "usageLimits"}], "status": "PERMISSION_DENIED",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}})


def test_api_is_disabled(emulator):
    emulator.faults("connectSettings", {"status": 403, "body": SERVICE_DISABLED, "times": -1})
    check(emulator).fails_only("Admin API", "SERVICE_DISABLED", "gcloud services enable sqladmin.googleapis.com")


def test_api_is_out_of_reach(emulator):
    done = Check("--sqladmin-api-endpoint", f"http://127.0.0.1:{free_port()}", "--token", "x", NAME)
    done.fails_only("Admin API", "failed to get instance metadata", "egress")


def test_api_quota_is_used_up(emulator):
    emulator.faults("connectSettings", {"status": 429, "times": -1})
    check(emulator).fails_only("Admin API", "429", "quota")


def test_token_without_the_scope(emulator):
    token = ["--token", emulator.token(PRINCIPAL, [LOGIN_SCOPE])]
    done = check(emulator, credentials=token).fails_only("scopes", "insufficient authentication scopes", "cloud-platform")
    assert done.outcomes("Admin API") == ["ok"]


def test_token_is_not_valid(emulator):
    check(emulator, credentials=["--token", "nonsense"]).fails_only("scopes", "401", "expired")


def test_role_is_missing(emulator):
    emulator.post("principals", email=PRINCIPAL, connect=False)
    done = check(emulator).fails_only("roles", "403.*notAuthorized", "roles/cloudsql.client.*roles/cloudsql.instanceUser")
    assert done.outcomes("Admin API") == ["ok"] and done.outcomes("scopes") == ["ok"]


def test_certificates_are_refused(emulator):
    """The second call of a refresh, which needs a permission of its own."""
    emulator.faults("generateEphemeralCert", {"status": 403, "reason": "notAuthorized", "times": -1})
    check(emulator).fails_only("roles", "create ephemeral cert failed.*403", "roles/cloudsql.client")


def test_instance_does_not_exist(emulator):
    done = check(emulator, name="my-project:us-central1:missing")
    done.fails_only("instance", "404", "Check the spelling")
    assert done.outcomes("roles") == ["ok"]


def test_region_is_mismatched(emulator):
    emulator.instance(NAME, region="europe-west1")
    check(emulator).fails_only("instance", "got us-central1, want europe-west1", "region")


def test_ip_type_is_missing(emulator):
    done = check(emulator, "--private-ip")
    done.fails_only("IP type", 'does not have IP of type "PRIVATE".*, it has PUBLIC', "IP type")


# -- the way to the instance


def test_instance_refuses(emulator):
    emulator.side("refuse")
    check(emulator).fails_only("route", rf"{emulator.addresses[NAME]}:3307 .*: Connection refused", "the instance runs")


def test_time_out_is_named_with_its_address(emulator, tmp_path):
    address = loopback_address()
    emulator.instance(NAME, address="", private_address=emulator.addresses[NAME])
    file = tmp_path / "sidepool.toml"
    file.write_text(f"""[[upstream]]
hosts = ["{address}:3307", "127.0.0.1:{emulator.url.rsplit(":", 1)[1]}"]
listen = ["127.0.0.1:{free_port()}"]
tls = {{ mode = "disable" }}
[upstream.pool]
server_connect_timeout = "1s"
""")
    with black_hole(address, 3307):
        done = Check("--config", file)
    assert done.outcomes("route") == ["FAIL", "ok"], done.output()
    assert f"{address}:3307" in done.rows["route"][0][1] and "no answer in time" in done.rows["route"][0][1]
    assert "firewalls" in done.rows["route"][0][1]


def test_time_out_of_an_instance_names_network_and_firewall(emulator):
    emulator.side("refuse")
    with black_hole(emulator.addresses[NAME], 3307):
        check(emulator).fails_only("route", f"{emulator.addresses[NAME]}:3307.*(no answer|not answer) in time", "port 3307")


@pytest.mark.parametrize("settings,text", [
    ({"server_cert": "wrong_name"}, 'was refused: .*another-project:another-instance'),
    ({"server_cert": "wrong_ca"}, "was refused: "), ({"server_cert": "expired"}, "was refused: .*expired"),
    ({"tls": "1.2"}, "TLS with .* failed")])
def test_server_certificate_is_wrong(emulator, settings, text):
    emulator.instance(NAME, **settings)
    done = check(emulator)
    assert done.failed() == ["certificate"] and done.outcomes("route") == ["ok"], done.output()
    assert re.search(text, done.text("certificate")) and "Remedy: " in done.text("certificate"), done.output()
    assert done.outcomes("database login") == ["skip"]


@pytest.mark.parametrize("mode,text", [
    ("alert_bad_certificate", "does not accept the client certificate"),
    ("alert_certificate_expired", "does not accept the client certificate"),
    ("reset_before_handshake", "TLS with .* failed"), ("close_after_handshake", "after the handshake")])
def test_handshake_fails(emulator, mode, text):
    """A refused client certificate shows only behind a TLS 1.3 handshake."""
    emulator.side(mode)
    done = check(emulator)
    assert done.code == 1, done.output()
    if mode == "reset_before_handshake" and done.failed() == ["route"]:
        assert "Connection reset" in done.text("route"), "it came before anybody looked at the new connection"
        return
    assert done.failed() == ["certificate"], done.output()
    assert re.search(text, done.text("certificate")) and "Remedy: " in done.text("certificate"), done.output()


@pytest.mark.parametrize("mode", ["hang", "hang_after_handshake"])
def test_handshake_hangs(emulator, tmp_path, mode):
    emulator.side(mode)
    file = tmp_path / "sidepool.toml"
    file.write_text(f"""[[upstream]]
instance = "{NAME}"
listen = ["127.0.0.1:{free_port()}"]
[upstream.pool]
server_connect_timeout = "1s"
""")
    done = Check("--config", file, "--sqladmin-api-endpoint", emulator.url, "--token",
                 emulator.token(PRINCIPAL, [ADMIN_SCOPE]))
    assert done.code == 1 and done.failed() == ["certificate"], done.output()
    assert re.search("in time|says nothing", done.text("certificate")), done.output()


# -- the login


@pytest.mark.parametrize("env,text,remedy", [
    ({"PGUSER": "alice", "PGPASSWORD": "wrong"}, "password authentication failed.*28P01", "PGPASSWORD"),
    ({"PGUSER": "alice"}, '"alice"', "Set PGPASSWORD"),
    ({"PGUSER": "alice", "PGPASSWORD": "secret", "PGDATABASE": "nowhere"}, '"nowhere" does not exist.*3D000', "PGDATABASE"),
    ({"PGUSER": "nobody", "PGPASSWORD": "x"}, "28P01", "the role")])
def test_login_fails(emulator, env, text, remedy):
    done = check(emulator, env=env).fails_only("database login", text, remedy)
    assert "secret" not in done.output() and "wrong" not in done.output()


def test_role_is_no_iam_user(emulator, postgres):
    """The database asks for a password although the certificate carries a token."""
    done = check(emulator, "--auto-iam-authn", credentials=[], env={**metadata(emulator), "PGUSER": "alice"})
    done.fails_only("database login", '"alice"', "cloudsql.iam_authentication=on.*roles/cloudsql.instanceUser")


def test_role_of_somebody_else(emulator, postgres):
    emulator.post("principals", email="bob@my-project.iam.gserviceaccount.com")
    done = check(emulator, "--auto-iam-authn", credentials=[], env={**metadata(emulator), "PGUSER": "bob@my-project.iam"})
    done.fails_only("database login", "bob@my-project.iam", f'Log in as "{ROLE}"')


# -- listeners


def test_port_is_taken_by_another_program(emulator, postgres):
    done = check(emulator, name=f"{NAME}?port={postgres.port}")
    done.fails_only("listener", f"127.0.0.1:{postgres.port} is taken by postgres \\(process {postgres.process.pid}\\)",
                    "another port")


def test_port_of_a_running_sidepool_is_fine(emulator):
    port, http = free_port(), free_port()
    args = ["--sqladmin-api-endpoint", emulator.url, "--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE]), "--health-check",
            "--http-port", str(http), "--port", str(port), NAME]
    with Proxy(args) as running:
        done = Check(*args)
        assert done.code == 0, done.output()
        assert done.outcomes("listener") == ["ok", "ok"]
        assert f"in use by sidepool (process {running.pid})" in done.text("listener")


def test_address_is_not_of_this_machine(emulator):
    done = check(emulator, name=f"{NAME}?address=192.0.2.1")
    done.fails_only("listener", "192.0.2.1:\\d+ cannot be used: Cannot assign requested address", "--address")


def test_probe_port_is_taken(emulator, postgres):
    done = check(emulator, "--health-check", "--http-port", postgres.port)
    done.fails_only("listener", "is taken by postgres", "another port")
    assert done.outcomes("listener") == ["ok", "FAIL"]


def test_unix_sockets(emulator):
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        def of(path):
            return check_unix(emulator, path)
        assert of(f"{folder}/a").outcomes("listener") == ["ok"]
        assert not os.path.exists(f"{folder}/a")  # nothing is made
        of(f"{folder}/missing/a").fails_only("listener", "No such file", "Create the directory")
        os.mkdir(f"{folder}/b")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/b/.s.PGSQL.5432")
            listener.listen()
            of(f"{folder}/b").fails_only("listener", r"is taken by python3?.* \(process \d+\)", "another port")
        assert of(f"{folder}/b").outcomes("listener") == ["ok"]  # a stale socket is removed at start


def check_unix(emulator, path):
    return Check("--sqladmin-api-endpoint", emulator.url, "--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE]),
                 f"{NAME}?unix-socket-path={path}")


# -- a list of hosts


def hosts_file(tmp_path, postgres, upstream="", rest=""):
    file = tmp_path / "sidepool.toml"
    file.write_text(f"""[[upstream]]
name = "plain"
hosts = ["127.0.0.1:{postgres.port}"]
listen = ["127.0.0.1:{free_port()}"]
{upstream}
{rest}
""")
    return file


def test_hosts_all_green(postgres, tmp_path):
    done = Check("--config", hosts_file(tmp_path, postgres), env=ALICE)
    assert done.code == 0, done.output()
    assert list(done.rows) == ["route", "certificate", "database login", "listener"]
    assert "offers no TLS" in done.text("certificate")


def test_hosts_users_of_the_file_are_tried(postgres, tmp_path):
    users = '[[user]]\nname = "alice"\npassword = "secret"\n[[user]]\nname = "nobody"\npassword = "x"\n'
    done = Check("--config", hosts_file(tmp_path, postgres, 'client_auth = "trust"', users))
    assert done.outcomes("database login") == ["ok", "FAIL"], done.output()


def test_hosts_tls_is_refused(postgres, tmp_path):
    done = Check("--config", hosts_file(tmp_path, postgres, 'tls = { mode = "require" }'), env=ALICE)
    done.fails_only("certificate", "does not support TLS", "tls.mode")


def test_hosts_route_is_closed(tmp_path):
    class Nobody:
        port = free_port()
    done = Check("--config", hosts_file(tmp_path, Nobody), env=ALICE)
    done.fails_only("route", "Connection refused", "the database runs")


def test_hosts_name_is_unknown(tmp_path):
    file = tmp_path / "sidepool.toml"
    file.write_text(f'[[upstream]]\nhosts = ["no-such-host.invalid:5432"]\nlisten = ["127.0.0.1:{free_port()}"]\n')
    Check("--config", file).fails_only("route", "no-such-host.invalid", "host name")
