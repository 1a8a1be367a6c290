"""What is behind the uplinks of a lab: answers on tcp/80 with the address it was asked from. ``python -m weft.agents.outside``"""

import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = f"outside saw {self.client_address[0].removeprefix('::ffff:')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Both(ThreadingHTTPServer):
    """IPv6, and IPv4 by addresses mapped into it (RFC 4291, 2.5.5.2)."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Both(("::", 80), Answer).serve_forever()


if __name__ == "__main__":
    main()
