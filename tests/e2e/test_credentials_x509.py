"""tests/e2e/test_credentials_x509.py -- workload identity federation by certificate: mutual TLS with the STS."""
import base64
import json
import os
import ssl

import psycopg2
import pytest

from lib import paths, peers
from lib.certificates import authority
from lib.emulator import ADMIN_SCOPE, LOGIN_SCOPE, Emulator
from lib.mtls_front import MtlsFront
from lib.ports import free_port
from lib.postgres import Postgres
from lib.sidepool import Proxy
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
WORKLOAD, ROLE = "workload@my-project.iam.gserviceaccount.com", "workload@my-project.iam"
MTLS = "urn:ietf:params:oauth:token-type:mtls"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role(ROLE)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME]) as running:
        running.post("principals", email=WORKLOAD)
        yield running


@pytest.fixture
def folder():
    with authority("localhost", "workload", "renewed") as made:
        yield made


def der(path):
    with open(path, encoding="ascii") as file:
        return base64.b64encode(ssl.PEM_cert_to_DER_cert(file.read())).decode()


def key_of(folder):
    """Some line in the middle of the key: it must not be seen anywhere."""
    with open(f"{folder}/workload.key", encoding="ascii") as file:
        return file.read().splitlines()[5]


class Service(Proxy):
    def __init__(self, emulator, folder, sts, source, binary=None):
        self.port = free_port()
        credentials = {"type": "external_account", "subject_token_type": MTLS, "token_url": f"{sts.url}/v1/token",
                       "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
                       "credential_source": {"certificate": source}}
        with open(f"{folder}/adc.json", "w", encoding="ascii") as file:
            json.dump(credentials, file)
        use(folder, "workload")
        super().__init__([f"--credentials-file={folder}/adc.json", "--auto-iam-authn", f"--port={self.port}",
                          f"--sqladmin-api-endpoint={emulator.url}", "--debug-logs", NAME], binary=binary,
                         env={"SSL_CERT_FILE": f"{folder}/ca.pem",
                              "GOOGLE_API_CERTIFICATE_CONFIG": f"{folder}/certificate_config.json"})

    def current_user(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=ROLE, dbname="postgres",
                                      connect_timeout=60)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select current_user")
                return cursor.fetchone()[0]
        finally:
            connection.close()


def succeeds(service):
    try:
        return service.current_user() == ROLE
    except psycopg2.OperationalError:
        return False


def use(folder, name):
    config = {"cert_configs": {"workload": {"cert_path": f"{folder}/{name}.pem", "key_path": f"{folder}/{name}.key"}}}
    with open(f"{folder}/certificate_config.json", "w", encoding="ascii") as file:
        json.dump(config, file)


def accept(emulator, *certificates):
    emulator.post("subject-tokens", principal=WORKLOAD,
                  subject_token=json.dumps(list(certificates), separators=(",", ":")))


@pytest.mark.parametrize("program", ["sidepool", "cloud-sql-proxy"])
@pytest.mark.parametrize("source", ["default", "with trust chain"])
def test_a_certificate_is_the_credential(emulator, folder, program, source):
    binary = peers.auth_proxy() if program == "cloud-sql-proxy" else paths.sidepool()
    leaf, chain = der(f"{folder}/workload.pem"), [der(f"{folder}/ca.pem")]
    if source == "default":
        origin, chain = {"use_default_certificate_config": True}, []
    else:
        origin = {"certificate_config_location": f"{folder}/certificate_config.json",
                  "trust_chain_path": f"{folder}/ca.pem"}
    accept(emulator, leaf, *chain)
    with MtlsFront(folder, emulator.host) as sts, Service(emulator, folder, sts, origin, binary) as service:
        assert service.current_user() == ROLE
        assert set(sts.leaves) == {leaf}, "the handshake shows what the subject token holds"
        requests = emulator.requests("sts")
        assert {request["details"]["subject_token_type"] for request in requests} == {MTLS}
        assert {tuple(request["details"]["scopes"]) for request in requests} == {(ADMIN_SCOPE,), (LOGIN_SCOPE,)}
        assert key_of(folder) not in service.output()


def test_a_renewed_certificate_is_used_for_the_next_exchange(emulator, folder):
    accept(emulator, der(f"{folder}/workload.pem"))
    accept(emulator, der(f"{folder}/renewed.pem"))
    emulator.post("token-lifetime", seconds=20)
    with MtlsFront(folder, emulator.host) as sts:
        with Service(emulator, folder, sts, {"use_default_certificate_config": True}) as service:
            assert service.current_user() == ROLE
            use(folder, "renewed")
            eventually(lambda: der(f"{folder}/renewed.pem") in sts.leaves, "the next token is bought with the new one")
            assert service.current_user() == ROLE


def test_an_sts_that_refuses_the_certificate_is_named(emulator, folder):
    with MtlsFront(folder, emulator.host) as sts:
        with Service(emulator, folder, sts, {"use_default_certificate_config": True}) as service:
            service.wait_line("cannot exchange the subject token: Security Token Service: Error 400: "
                              "The subject token is not accepted")


def test_a_key_that_comes_late_is_waited_for(emulator, folder):
    accept(emulator, der(f"{folder}/workload.pem"))
    key = f"{folder}/workload.key"
    os.rename(key, key + ".later")
    with open(key, "w", encoding="ascii") as file:
        file.write("half-s3cret")
    with MtlsFront(folder, emulator.host) as sts:
        with Service(emulator, folder, sts, {"use_default_certificate_config": True}) as service:
            service.wait_line("workload.key is not a private key in PEM without a pass phrase")
            os.rename(key + ".later", key)
            eventually(lambda: succeeds(service), "the next attempt finds it")
            assert "half-s3cret" not in service.output()
