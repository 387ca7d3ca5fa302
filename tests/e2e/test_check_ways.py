"""tests/e2e/test_check_ways.py -- `sidepool check` where the way is not plain: DNS names, SOCKS proxies, and credentials
that a program has to be asked for."""
import json
from types import SimpleNamespace

import pytest

from lib.check import Check
from lib.cloud import NAME, PRINCIPAL, ROLE
from lib.emulator import PLATFORM_SCOPE
from lib.ports import free_port
from lib.socks_proxy import SocksProxy

DB = "db.example.com"
CONFIG = """
[server]
dns_servers = ["{dns}"]
[[upstream]]
instance = "{name}"
auto_iam_authn = true
listen = ["127.0.0.1:{port}"]
"""


def environment(emulator, **more):
    return {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "GCE_METADATA_HOST": emulator.host, **more}


def by_name(emulator, tmp_path, dns, name=DB, **more):
    file = tmp_path / "sidepool.toml"
    file.write_text(CONFIG.format(dns=dns.address, name=name, port=free_port()))
    return Check("--config", file, env=environment(emulator, **more))


def by_proxy(emulator, proxy, login=""):
    return Check("--auto-iam-authn", "--port", free_port(), NAME,
                 env=environment(emulator, ALL_PROXY=f"socks5://{login}127.0.0.1:{proxy.port}"))


# -- DNS names


def test_a_name_is_followed_to_its_instance(emulator, tmp_path, dns):
    emulator.instance(NAME, sans=[DB])
    dns.set("alias.example.com", "CNAME", DB)
    dns.set(DB, "TXT", NAME)
    done = by_name(emulator, tmp_path, dns, "alias.example.com")
    assert done.code == 0, done.output()
    assert f"{DB} stands for project my-project, region us-central1, instance my-postgres" in done.text("instance name")
    assert emulator.addresses[NAME] in done.text("route"), "without an A record it is the instance's own address"
    assert f'"{ROLE}"' in done.text("database login")


def test_the_addresses_of_the_name_are_the_way(emulator, tmp_path, dns):
    dns.set(DB, "TXT", NAME)
    dns.set(DB, "A", emulator.addresses[NAME])
    emulator.instance(NAME, sans=[DB])
    done = by_name(emulator, tmp_path, dns)
    assert done.code == 0, done.output()
    assert f"{DB}:3307 ({emulator.addresses[NAME]}) accepts connections" in done.text("route")


def test_a_certificate_for_another_name_is_said(emulator, tmp_path, dns):
    dns.set(DB, "TXT", NAME)
    emulator.instance(NAME, cas=True, sans=["elsewhere.example.com"])
    by_name(emulator, tmp_path, dns).fails_only("certificate", f'not valid for "{DB}"', "the address leads to the instance")


@pytest.mark.parametrize("name", [DB, "0123456789ab.my-project.us-central1.sql.goog"])
def test_googles_own_names_are_asked_of_the_api(emulator, tmp_path, dns, name):
    emulator.instance(NAME, sans=[name], dns_name=name)
    if name == DB:
        dns.set(DB, "CNAME", "0123456789ab.my-project.us-central1.sql.goog")
        emulator.instance(NAME, sans=[name], dns_name="0123456789ab.my-project.us-central1.sql.goog")
    done = by_name(emulator, tmp_path, dns, name)
    assert "stands for project my-project" in done.text("instance name"), done.output()
    assert emulator.count("resolveConnectSettings") == 1
    assert done.code == 0, done.output()


def test_a_name_without_a_record(emulator, tmp_path, dns):
    by_name(emulator, tmp_path, dns).fails_only("instance name", f'TXT record for "{DB}"', "TXT record")
    assert emulator.count("connectSettings") == 0


def test_a_record_that_names_no_instance(emulator, tmp_path, dns):
    dns.set(DB, "TXT", "v=spf1 -all")
    by_name(emulator, tmp_path, dns).fails_only("instance name", "v=spf1 -all", "TXT record")


def test_name_servers_that_fail(emulator, tmp_path, dns):
    dns.mood = "servfail"
    by_name(emulator, tmp_path, dns).fails_only("instance name", DB, "name servers")


# -- SOCKS


def test_through_a_proxy(emulator):
    address = emulator.addresses[NAME]
    with SocksProxy({address: address}, login=("me", "p@ss")) as proxy:
        done = by_proxy(emulator, proxy, "me:p%40ss@")
        assert done.code == 0, done.output()
        assert address in done.text("route")
        assert set(proxy.targets) == {(address, 3307)}, "that way, and calls of the API another"
        assert "p@ss" not in done.output() and "p%40ss" not in done.output()


def test_a_proxy_that_does_not_let_us_through(emulator):
    with SocksProxy({}) as proxy:
        by_proxy(emulator, proxy).fails_only("route", "through the proxy .*connection refused", "ALL_PROXY")


def test_a_proxy_that_is_not_there(emulator):
    nobody = SimpleNamespace(port=free_port())
    by_proxy(emulator, nobody).fails_only("route", "through the proxy .*Connection refused", "ALL_PROXY")


def test_a_proxy_that_refuses_the_password(emulator):
    address = emulator.addresses[NAME]
    with SocksProxy({address: address}, login=("me", "right")) as proxy:
        done = by_proxy(emulator, proxy, "me:wr0ng@").fails_only("route", "refused the user or the password", "ALL_PROXY")
        assert "wr0ng" not in done.output()


# -- programs that give tokens


def test_a_credential_that_an_executable_gives(emulator, tmp_path):
    emulator.post("subject-tokens", subject_token="subject-s3cret", principal=PRINCIPAL)
    kind = "urn:ietf:params:oauth:token-type:jwt"
    program = tmp_path / "idp"
    reply = {"version": 1, "success": True, "token_type": kind, "id_token": "subject-s3cret"}
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(reply)}\nEND\n")
    program.chmod(0o700)
    file = tmp_path / "adc.json"
    file.write_text(json.dumps({
        "type": "external_account", "subject_token_type": kind, "token_url": f"{emulator.url}/v1/token",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "credential_source": {"executable": {"command": str(program)}}}))
    done = Check("--credentials-file", file, "--port", free_port(), NAME,
                 env=environment(emulator, GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES="1"))
    assert done.code == 0, done.output()
    assert done.outcomes("access token") == ["ok"]
    assert "subject-s3cret" not in done.output()


def test_a_token_that_gcloud_gives(emulator, tmp_path):
    token = emulator.token(PRINCIPAL, [PLATFORM_SCOPE])
    program = tmp_path / "gcloud"
    reply = {"credential": {"access_token": token, "token_expiry": "2126-01-01T00:00:00Z"}}
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(reply)}\nEND\n")
    program.chmod(0o700)
    done = Check("--gcloud-auth", "--port", free_port(), NAME, env=environment(emulator, PATH=f"{tmp_path}:/usr/bin:/bin"))
    assert done.code == 0, done.output()
    assert "gcloud" in done.text("credentials")
    assert token not in done.output()
