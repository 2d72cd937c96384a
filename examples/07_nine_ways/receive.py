"""Ways 3 and 4: an app that readings are posted to, here or elsewhere; prints each body."""

import argparse
import hmac
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
parser.add_argument("--certificate", type=Path, help="speak HTTPS; with --key and --token-file")
parser.add_argument("--key", type=Path)
parser.add_argument("--token-file", type=Path, help="what the mapper must show")
options = parser.parse_args()
wanted = f"Bearer {options.token_file.read_text().strip()}" if options.token_file else ""
seen: set[str] = set()


class App(BaseHTTPRequestHandler):
    """Takes what comes, once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if wanted and not hmac.compare_digest(self.headers.get("authorization", ""), wanted):
            self.answer(401)
            return
        # A mapper that got no answer posts again, with the same key: it was taken already.
        key = self.headers["idempotency-key"]
        if key not in seen:
            seen.add(key)
            print(self.path, body, flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


host, _, port = options.listen.rpartition(":")
server = ThreadingHTTPServer((host, int(port)), App)
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"listening on {options.listen}", file=sys.stderr, flush=True)
server.serve_forever()
