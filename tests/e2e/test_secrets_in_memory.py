"""tests/e2e/test_secrets_in_memory.py -- a secret is in memory once, where it is kept, and not in what it travelled through."""
import json

import psycopg2
import pytest

from lib.emulator import PLATFORM_SCOPE, Emulator
from lib.memory import copies
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL, HUMAN = "app@my-project.iam.gserviceaccount.com", "alice@example.com"
PASSWORD = "a-password-of-some-length-that-is-nowhere-else"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("bob", PASSWORD)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


class Service(Proxy):
    def __init__(self, emulator, *flags, env=None):
        self.port = free_port()
        super().__init__([f"--port={self.port}", f"--sqladmin-api-endpoint={emulator.url}", *flags, NAME], env=env)
        self.wait_line("fetched connection information of")

    def login(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="bob", password=PASSWORD, dbname="postgres",
                                      connect_timeout=60)
        connection.cursor().execute("select 1")
        connection.close()

    def expect(self, text, times):
        """Whoever still works with it is given the time to end."""
        eventually(lambda: copies(self.pid, text) == times, f"{text!r} is there {times} times")


def test_a_subject_token_and_a_clients_secret(emulator, tmp_path):
    subject, secret = "subject-token-" + "s" * 300, "the-secret-of-the-client-" + "c" * 30
    emulator.post("subject-tokens", subject_token=subject, principal=PRINCIPAL)
    (tmp_path / "token").write_text(subject)
    (tmp_path / "adc.json").write_text(json.dumps({
        "type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{emulator.url}/v1/token", "client_id": "me", "client_secret": secret,
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "credential_source": {"file": str(tmp_path / "token")}}))
    with Service(emulator, f"--credentials-file={tmp_path}/adc.json") as service:
        service.expect(subject, 0)
        service.expect(secret, 1)


def test_a_token_that_is_kept(emulator, tmp_path):
    token = emulator.post("tokens", principal=HUMAN, scopes=[PLATFORM_SCOPE], token="access-token-" + "a" * 200)["token"]
    reply = {"configuration": {"properties": {"core": {"account": HUMAN}}},
             "credential": {"access_token": token, "token_expiry": "2126-01-01T00:00:00Z"}}
    program = tmp_path / "gcloud"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(reply)}\nEND\n")
    program.chmod(0o700)
    with Service(emulator, "--gcloud-auth", env={"PATH": f"{tmp_path}:/usr/bin:/bin"}) as service:
        service.expect(token, 1)


def test_a_refresh_token(emulator, tmp_path):
    user = emulator.post("users", email=HUMAN)
    user["token_uri"] = f"{emulator.url}/token"
    (tmp_path / "adc.json").write_text(json.dumps(user))
    with Service(emulator, f"--credentials-file={tmp_path}/adc.json") as service:
        service.expect(user["refresh_token"], 1)
        service.expect(user["client_secret"], 1)


def test_a_password_of_the_database(emulator):
    with Service(emulator, env={"GCE_METADATA_HOST": emulator.host}) as service:
        service.login()
        service.expect(PASSWORD, 0)
