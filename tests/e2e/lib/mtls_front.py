"""tests/e2e/lib/mtls_front.py -- HTTPS in front of the emulator that demands a certificate, as sts.mtls.googleapis.com."""
import base64
import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class MtlsFront:
    """Requests go on to the host and port `behind`. `leaves`: the certificate (DER in base64) that each came with.

    `folder`: of lib.certificates.authority, whose certificate for localhost is shown and whose others are accepted.
    """

    def __init__(self, folder, behind):
        self.leaves = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                front.leaves.append(base64.b64encode(self.connection.getpeercert(binary_form=True)).decode())
                onward = http.client.HTTPConnection(behind)
                onward.request("POST", self.path, self.rfile.read(int(self.headers["Content-Length"])),
                               dict(self.headers))
                answer = onward.getresponse()
                body = answer.read()
                onward.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client without a certificate; it says so itself

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/localhost.pem", f"{folder}/localhost.key")
        context.load_verify_locations(f"{folder}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = Server(("127.0.0.1", 0), Handler)
        # The handshake belongs on the connection's own thread.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
