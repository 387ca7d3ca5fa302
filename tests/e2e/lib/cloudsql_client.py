"""tests/e2e/lib/cloudsql_client.py -- a Cloud SQL connector by hand: openssl for keys, Python's ssl for 3307."""
import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

from .emulator import http


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_jwt(private_key_pem, claims, header=None):
    head = base64url(json.dumps(header or {"alg": "RS256", "typ": "JWT"}).encode())
    text = f"{head}.{base64url(json.dumps(claims).encode())}"
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as key:
        key.write(private_key_pem)
        key.flush()
        signature = openssl("dgst", "-sha256", "-sign", key.name, data=text.encode())
    return f"{text}.{base64url(signature)}"


def service_account_claims(account, scope, **changes):
    now = int(time.time())
    return {"iss": account["client_email"], "scope": scope, "aud": account["token_uri"], "iat": now - 10,
            "exp": now + 3590, **changes}


class Connector:
    """One key pair and the Admin API calls for it, as Google's connector makes them."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.folder = tempfile.mkdtemp(prefix="sp-connector-")
        self.key_file = os.path.join(self.folder, "key.pem")
        openssl("genrsa", "-out", self.key_file, "2048")
        # SubjectPublicKeyInfo under the label of PKCS#1, as Google's connector sends it.
        self.public_key = openssl("rsa", "-in", self.key_file, "-pubout").decode().replace(
            "PUBLIC KEY", "RSA PUBLIC KEY")

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _url(self, name, what):
        project, _, instance = name.rsplit(":", 2)
        return (f"{self.emulator.url}/sql/v1beta4/projects/{project.replace(':', '%3A')}/instances/{instance}{what}"
                "?alt=json&prettyPrint=false")

    def settings(self, name, token):
        return json.loads(http("GET", self._url(name, "/connectSettings"),
                               headers={"Authorization": f"Bearer {token}"})[2])

    def certificate(self, name, token, login_token=None, public_key=None):
        """PEM of an ephemeral certificate."""
        body = {"public_key": public_key or self.public_key}
        if login_token:
            body["access_token"] = login_token
        answer = http("POST", self._url(name, ":generateEphemeralCert"), json.dumps(body),
                      {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})[2]
        return json.loads(answer)["ephemeralCert"]["cert"]

    def context(self, ca_bundle, certificate=None):
        """Verifies the chain only: Google's names are no host names, see `common_name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # else a bare FIN looks like close_notify
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if ca_bundle:
            context.load_verify_locations(cadata=ca_bundle)
        if certificate:
            path = os.path.join(self.folder, "client.pem")
            with open(path, "w", encoding="ascii") as file:
                file.write(certificate)
            context.load_cert_chain(path, self.key_file)
        return context

    def dial(self, address, context, port=3307, server_hostname=None):
        raw = socket.create_connection((address, port), timeout=30)
        try:
            return context.wrap_socket(raw, server_hostname=server_hostname, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise

    def connect(self, name, token, login_token=None, address=None):
        """Both API calls, then TLS to the primary address."""
        settings = self.settings(name, token)
        certificate = self.certificate(name, token, login_token)
        addresses = {entry["type"]: entry["ipAddress"] for entry in settings["ipAddresses"]}
        context = self.context(settings["serverCaCert"]["cert"], certificate)
        return self.dial(address or addresses["PRIMARY"], context)


def common_name(sock):
    """The CN of the server's certificate."""
    for attributes in sock.getpeercert()["subject"]:
        for key, value in attributes:
            if key == "commonName":
                return value
    return ""


def ending(sock):
    """How the other side ends a TLS connection: close_notify, fin, reset, or the reason of an alert."""
    try:
        data = sock.recv(1)
    except ConnectionResetError:
        return "reset"
    except ssl.SSLEOFError as error:
        # Python reports ECONNRESET as this error too, then without a reason of OpenSSL.
        return "fin" if error.reason == "UNEXPECTED_EOF_WHILE_READING" else "reset"
    except ssl.SSLError as error:
        return "fin" if error.reason == "UNEXPECTED_EOF_WHILE_READING" else error.reason
    assert data == b"", "there is data instead of an end"
    return "close_notify"
