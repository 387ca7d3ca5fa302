"""tests/e2e/lib/certificates.py -- an authority of the test's own and certificates that it has signed."""
import contextlib
import os
import shutil
import subprocess
import tempfile


@contextlib.contextmanager
def authority(*names):
    """A folder with `ca.pem`, and `NAME.pem` and `NAME.key` for each name, which is the certificate's CN and DNS name."""
    folder = tempfile.mkdtemp(prefix="sp-tls-")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    try:
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj",
                "/CN=ca")
        for name in names:
            extensions = os.path.join(folder, f"{name}.ext")
            with open(extensions, "w", encoding="ascii") as file:
                file.write(f"subjectAltName = DNS:{name}\n")
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                    f"/CN={name}")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-extfile", extensions, "-out", f"{name}.pem")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
