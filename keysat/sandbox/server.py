"""The whole sandbox: ledger, provider and control side, and webhooks behind one HTTP server."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import Self

from keysat.core.errors import KeysatError
from keysat.sandbox.checkout import Checkout
from keysat.sandbox.control import Control
from keysat.sandbox.faults import Fault, FaultPlan
from keysat.sandbox.http import Server
from keysat.sandbox.ledger import Clock, Ledger
from keysat.sandbox.lightning import Lightning
from keysat.sandbox.modes import MODES, Side
from keysat.sandbox.tally import Tally
from keysat.sandbox.webhooks import BTCPAY_RETRY_DELAYS, Sender, WebhookPlan
from keysat.sandbox.wire import Request, SandboxResponse, replaced, rewritten

_EXPIRY_SECONDS = 0.2


class AddressUnusable(KeysatError):
    """The sandbox can't listen on the given address."""

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(f"the sandbox can't listen on {host}:{port} ({cause}); choose another port, 0 for any.")


class Sandbox:
    """The pretended providers of `modes` in this process. Also a context manager that starts and stops it."""

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        clock: Clock = time.time,
        retry_delays: tuple[float, ...] = BTCPAY_RETRY_DELAYS,
        webhook_timeout: float = 10.0,
    ) -> None:
        """Set up the sandbox without listening yet.

        Args:
            port: the port to listen on. 0 selects a free one.
            host: the address to listen on. The control side requires no credentials, so use loopback only.
            clock: returns Unix seconds. Tests replace it to expire invoices.
            retry_delays: seconds before each redelivery of a failed webhook, unless a plan sets others.
            webhook_timeout: seconds that a webhook receiver has to respond.
        """
        self._host, self._port = host, port
        plan = WebhookPlan(retry_delays=retry_delays)
        self._webhooks = Sender(plan, webhook_timeout)
        self.ledger = Ledger(self._webhooks.send, clock)
        self._faults, self._tally = FaultPlan(), Tally()
        self._lightning = Lightning(lambda: self.url)
        modes = MODES.values()
        self._sides = [(mode.paths, mode.side(self.ledger, lambda: self.url, self._lightning)) for mode in modes]
        self._control = Control(self.ledger, self._faults, self._webhooks, self._tally, self._lightning, plan)
        self._checkout = Checkout(self.ledger)
        self._server: Server | None = None
        self._expiry = threading.Thread(target=self._expire, name="sandbox-expiry", daemon=True)
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        """The base URL without a trailing slash. The port is known once the sandbox is started."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> Self:
        """Start to listen and return at once. A sandbox starts only once.

        Raises:
            AddressUnusable: the port is taken, or the address isn't one of this machine.
        """
        try:
            self._server = Server((self._host, self._port), self._handle)
        except (OSError, OverflowError) as error:
            raise AddressUnusable(self._host, self._port, str(error)) from error
        self._port = self._server.server_address[1]
        self._server.start()
        self._expiry.start()
        return self

    def stop(self) -> None:
        """Close all connections and drop pending webhooks. The ledger stays readable."""
        self._stopped.set()
        if self._server is not None:
            self._server.stop()
            self._expiry.join()
            self._server = None
        self._webhooks.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _handle(self, request: Request) -> tuple[SandboxResponse, Fault | None]:
        if self._checkout.serves(request.path):
            return self._checkout.respond(request), None
        if request.path == "/sandbox" or request.path.startswith("/sandbox/"):
            return self._control.answer(request), None
        if self._lightning.speaks(request.path):
            return self._lightning.recipient(request), None
        provider = self._side(request.path)
        route = provider.route(request)
        self._tally.count(route)
        mishap = self._faults.strike(request.method, request.path, route.store_id)
        if mishap.wait:
            self._stopped.wait(mishap.wait)
        fault = mishap.last
        if fault is not None and fault.refuses:
            return replaced(SandboxResponse(200), fault), fault
        answer = rewritten(provider.answer(request, route), mishap.fields, mishap.removed)
        return (replaced(answer, fault) if fault else answer), fault

    def _side(self, path: str) -> Side:
        return next(side for paths, side in self._sides if paths.match(path))

    def _expire(self) -> None:
        while not self._stopped.wait(_EXPIRY_SECONDS):
            self.ledger.expire_due()


def run(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, in the main thread. Writes the address to stderr.

    Raises:
        AddressUnusable: the port is taken, or the address isn't one of this machine.
    """
    ended = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in signals}
    try:
        with Sandbox(port, host) as sandbox:
            sys.stderr.write(f"sandbox ready at {sandbox.url}\n")
            sys.stderr.flush()
            ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
