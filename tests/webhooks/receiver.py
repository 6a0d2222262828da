"""A receiver of outbound webhooks, which records every copy and sends the given responses."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from standardwebhooks import Webhook


class Copy(NamedTuple):
    """One copy of a delivery, as received."""

    headers: dict
    body: bytes
    at: float


class Receiver:
    """Responds to each call with the result of `answer(copy)`: a status, or (status, headers, body). None hangs.

    With a `context` for TLS it is an https server.
    """

    def __init__(self, answer=lambda copy: 204, context=None):
        self.answer, self.copies = answer, []
        self._lock, self._over = threading.Lock(), threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the sender was killed on its way
                copy = Copy(dict(self.headers), body, time.time())
                with receiver._lock:
                    receiver.copies.append(copy)
                answer = receiver.answer(copy)
                if answer is None:
                    receiver._over.wait(60)
                    return
                status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"")
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                """A sender that is killed cuts its connection."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def by_delivery(self):
        """The copies of each delivery, by its id."""
        found = {}
        with self._lock:
            for copy in self.copies:
                found.setdefault(copy.headers["X-Keysat-Delivery"], []).append(copy)
        return found

    def close(self):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


def verified(copy, secret):
    """A copy's content, if the published package accepts its signature."""
    return Webhook(secret).verify(copy.body, copy.headers)
