"""A TCP proxy before a server's unix socket that can swallow everything, or cut connections at a chosen moment."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

Cut = Callable[[bytes], str | None]


def never(_: bytes) -> None:
    """Cut nothing."""


class Proxy:
    """Listens on loopback at `port`.

    After `swallow`, nothing passes in either direction, without an error, as with a pulled cable.
    `cut` inspects what a client sends: "before" ends the connection instead of passing it on, "after" passes it on and
    ends the connection instead of responding.
    """

    def __init__(self, unix_socket: str, cut: Cut = never) -> None:
        self._target, self.cut = unix_socket, cut
        self._closed, self.passing = threading.Event(), threading.Event()
        self.passing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closed.set()
        self.passing.set()
        self._listener.close()

    def swallow(self) -> None:
        """From now on let nothing pass."""
        self.passing.clear()

    def let_pass(self) -> None:
        """Pass on what was delayed, and everything after it."""
        self.passing.set()

    def _accept(self):
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        self.passing.wait()
        try:
            server.connect(self._target)
        except OSError:
            client.close()
            return
        answer_is_cut = threading.Event()
        back = threading.Thread(target=self._pump, args=(server, client, lambda _: answer_is_cut.is_set()), daemon=True)
        back.start()

        def decide(data):
            verdict = self.cut(data)
            if verdict == "after":
                answer_is_cut.set()
            return verdict == "before"

        self._pump(client, server, decide)

    def _pump(self, source, sink, ends_here):
        with suppress(OSError):
            while data := source.recv(65_536):
                self.passing.wait()
                if ends_here(data):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
