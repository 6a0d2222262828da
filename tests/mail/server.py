"""A mail server, by aiosmtpd, which keeps what it took and misbehaves as it is told."""

import asyncio
import socket
import threading
from typing import NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult

CUT, HANG = "cut", "hang"


class Taken(NamedTuple):
    """A message that the server took."""

    sender: str
    recipients: list[str]
    content: bytes


class MailServer:
    """Replies to each stage with the result of `answer(stage, detail)`.

    None is the usual reply, a text such as `451 later` another one, and a float the usual one after so many seconds.
    CUT ends the connection, and HANG never replies. The stages are `connect`, `mail`, `rcpt`, `data` (before the
    message is kept) and `taken` (after it is kept). `tls` is a context for STARTTLS, `implicit_tls` one for the whole
    connection.
    """

    def __init__(self, answer=lambda stage, detail: None, *, tls=None, implicit_tls=None, login=None, utf8=True):
        self.answer, self.taken, self.logins = answer, [], []
        self._tls, self._login, self._utf8 = tls, login, utf8
        self._loop, self._connections = asyncio.new_event_loop(), set()
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-server", daemon=True)
        self._thread.start()
        # In the thread, since the caller's may have a loop that runs, such as a browser's.
        begun = self._loop.create_server(self._new, sock=listener, ssl=implicit_tls)
        self._server = asyncio.run_coroutine_threadsafe(begun, self._loop).result(30)

    @property
    def url(self):
        """The value of KEYSAT_SMTP_URL that leads here."""
        return f"smtp://127.0.0.1:{self.port}"

    def close(self):
        """End all connections and the thread."""

        async def end():
            self._server.close()
            for connection in self._connections:
                if connection.transport is not None:
                    connection.transport.abort()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop_listening(self):
        """Refuse new connections from now on."""
        self._loop.call_soon_threadsafe(self._server.close)

    def listen_again(self):
        """Take connections at the same port again."""
        again = self._loop.create_server(self._new, "127.0.0.1", self.port, reuse_address=True)
        self._server = asyncio.run_coroutine_threadsafe(again, self._loop).result(30)

    def _new(self):
        more = {"tls_context": self._tls, "require_starttls": self._tls is not None}
        if self._login is not None:
            more |= {"authenticator": self._authenticate, "auth_require_tls": self._tls is not None}
        connection = _Connection(self, self, enable_SMTPUTF8=self._utf8, loop=self._loop, **more)
        self._connections.add(connection)
        return connection

    def _authenticate(self, server, session, envelope, mechanism, given):
        self.logins.append((given.login.decode(), given.password.decode()))
        right = self.logins[-1] == self._login
        return AuthResult(success=right, handled=right)

    async def at(self, stage, detail, connection):
        """Do what was told for a stage. Returns the reply, or None for the usual one."""
        told = self.answer(stage, detail)
        if told == CUT:
            connection.transport.abort()
            await asyncio.sleep(3_600)  # until the lost connection ends this task
        if told == HANG:
            await asyncio.sleep(3_600)
        if isinstance(told, float):
            await asyncio.sleep(told)
            return None
        return told

    async def handle_MAIL(self, server, session, envelope, address, mail_options):  # noqa: N802 - aiosmtpd looks for this name
        if reply := await self.at("mail", address, server):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):  # noqa: N802 - aiosmtpd looks for this name
        if reply := await self.at("rcpt", address, server):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd looks for this name
        message = Taken(envelope.mail_from, envelope.rcpt_tos, envelope.original_content)
        if reply := await self.at("data", message, server):
            return reply
        self.taken.append(message)
        return await self.at("taken", message, server) or "250 queued as 1234"


class _Connection(SMTP):
    def __init__(self, told, *arguments, **options):
        self._told = told
        super().__init__(*arguments, **options)

    def connection_made(self, transport):
        if self._told.answer("connect", None) == CUT:
            transport.abort()
            self._handler_coroutine = asyncio.get_running_loop().create_future()
            return
        super().connection_made(transport)

    def connection_lost(self, error):
        self._told._connections.discard(self)
        if self.session is not None:
            super().connection_lost(error)
