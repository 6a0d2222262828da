"""Hand one message to the operator's mail server, within one deadline, over TLS unless the server is this machine.

`smtplib` times out between two reads, so a slow drip can block it forever. Here the deadline cuts the connection,
whatever it is blocked on, and what the server may say is bounded.
"""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from keysat.core.hints import Hint
from keysat.core.mailbox import Mailbox
from keysat.core.texts import printable
from keysat.net.certificates import problem_of, tls_context
from keysat.net.deadlines import Deadline
from keysat.net.smtp_failed import SmtpFailed

_PORTS = {"smtp": 587, "smtps": 465}
_MAX_REPLY_BYTES = 65_536
_EXCERPT = 500
_QUIT_SECONDS = 2.0
# RFC 5321, 4.5.3.2.6: whoever stops waiting for the reply to a message earlier sends a copy of what was taken.
CONFIRM_SECONDS = 600
_GO_AHEAD = 354
_DOTS = re.compile(rb"^\.", re.MULTILINE)


@dataclass(frozen=True)
class SmtpServer:
    """The server, and how it is reached. `helo` is the name by which this machine introduces itself.

    `deadline` is in seconds, for all of a call up to the end of the message, and `confirm_within` for the reply to it.
    """

    host: str
    port: int
    implicit_tls: bool
    user: str | None
    password: str | None
    helo: str
    deadline: float
    ca_file: Path | None = None
    confirm_within: float = CONFIRM_SECONDS

    @classmethod
    def of_url(cls, url: str, helo: str, deadline: float, ca_file: Path | None = None) -> SmtpServer:
        """Read a URL as the settings checked it."""
        parts = urlsplit(url)
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        port = parts.port or _PORTS[parts.scheme]
        return cls(parts.hostname or "", port, parts.scheme == "smtps", user, password, helo, deadline, ca_file)

    def __str__(self) -> str:
        """Return host and port, without the password."""
        return f"{self.host}:{self.port}"

    def probe(self) -> str:
        """Connect, encrypt and log in. Returns what the server is, in a few words. Raises SmtpFailed."""
        with Deadline(self.deadline) as deadline, self._connected(deadline) as connection:
            with self._stage("sender", deadline):
                self._expect(connection.noop(), "sender")
            secured = "over TLS" if connection.secured else "on this machine"
            return f"{self} takes mail {secured}{'' if self.user is None else f' from {self.user}'}"

    def send(self, sender: Mailbox, recipient: Mailbox, message: bytes) -> str:
        """Hand over a message, whose lines end in CRLF. Returns the server's reply.

        Raises:
            SmtpFailed: it was not taken. Without a reply to the message it may have been.
        """
        with Deadline(self.deadline) as deadline, self._connected(deadline) as connection:
            options = ["SMTPUTF8", "BODY=8BITMIME"] if sender.needs_utf8 or recipient.needs_utf8 else []
            if options and not connection.has_extn("smtputf8"):
                raise SmtpFailed(str(self), "recipient", "takes no letters like those before the @", 553)
            with self._stage("sender", deadline):
                self._expect(connection.mail(sender.address, options), "sender")
            with self._stage("recipient", deadline):
                self._expect(connection.rcpt(recipient.address), "recipient")
            with self._stage("message", deadline):
                connection.begin_message()
            with self._stage("confirmation", deadline):
                connection.send_message_text(message)
                connection.wait_anew(self.confirm_within)
                return _reply_text(self._expect(connection.getreply(), "confirmation"))

    @contextmanager
    def _connected(self, deadline: Deadline) -> Iterator[_Connection]:
        connection = _Connection(self, deadline)
        try:
            with self._stage("connect", deadline):
                self._expect(connection.connect(self.host, self.port), "connect")
                connection.ehlo_or_helo_if_needed()
            if not connection.secured and not connection.local:
                self._start_tls(connection, deadline)
            if self.user is not None and self.password is not None:
                with self._stage("login", deadline):
                    connection.login(self.user, self.password)
            yield connection
            with suppress(smtplib.SMTPException, OSError, ValueError):
                connection.leave()
        finally:
            connection.close()

    def _start_tls(self, connection: _Connection, deadline: Deadline) -> None:
        if not connection.has_extn("starttls"):
            raise SmtpFailed(str(self), "starttls", "offers no STARTTLS, so nothing was sent", hint=Hint.SECURE_MAIL)
        with self._stage("starttls", deadline):
            connection.starttls(context=tls_context(self.ca_file))
            connection.secured = True
            connection.ehlo_or_helo_if_needed()

    def _expect(self, reply: tuple[int, bytes], stage: str) -> tuple[int, bytes]:
        if not 200 <= reply[0] < 300:
            raise SmtpFailed(str(self), stage, f"refuses the {_NOUNS[stage]}: {_reply_text(reply)}", reply[0])
        return reply

    @contextmanager
    def _stage(self, stage: str, deadline: Deadline) -> Iterator[None]:
        """Translate what can go wrong while the server is asked for something."""
        try:
            yield
        except smtplib.SMTPResponseException as error:
            reply = (error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b"")
            cause = f"refuses the {_NOUNS[stage]}: {_reply_text(reply)}"
            raise SmtpFailed(str(self), stage, cause, error.smtp_code) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            certificate = problem_of(error)
            if certificate is not None:
                cause = f"has a certificate that isn't trusted ({certificate})"
                raise SmtpFailed(str(self), stage, cause, hint=Hint.TRUST_AUTHORITY) from None
            if deadline.is_over:
                cause = f"took longer than {deadline.seconds:g} s for the {_NOUNS[stage]}"
            else:
                cause = f"failed at the {_NOUNS[stage]} ({printable(str(error)) or type(error).__name__})"
            raise SmtpFailed(str(self), stage, cause) from None


_NOUNS = {
    "connect": "connection",
    "starttls": "encryption",
    "login": "password",
    "sender": "sender",
    "recipient": "recipient",
    "message": "message",
    "confirmation": "message",
}


def is_local(address: str) -> bool:
    """Whether an IP address leads to this machine, so that nobody can listen."""
    return ip_address(address.partition("%")[0]).is_loopback


class _Connection(smtplib.SMTP):
    """A connection under a deadline. `local` means that it leads to this machine."""

    def __init__(self, server: SmtpServer, deadline: Deadline) -> None:
        self.secured = self.local = False
        self._server, self._deadline = server, deadline
        super().__init__(local_hostname=server.helo)
        self._host = server.host  # whose certificate it must be

    def _get_socket(self, host: str, port: int, _: object) -> socket.socket:
        problem: OSError = TimeoutError(f"{host} has no address")
        for family, kind, protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._deadline.seconds_left())
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
                continue
            self._deadline.watch(sock)
            self.local = is_local(str(address[0]))
            if self._server.implicit_tls:
                sock = tls_context(self._server.ca_file).wrap_socket(sock, server_hostname=host)
                self.secured = True
            return sock
        raise problem

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply of bounded size."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()

    def begin_message(self) -> None:
        """Ask to send a message. Raises SMTPDataError if the server doesn't want it."""
        code, text = self.docmd("DATA")
        if code != _GO_AHEAD:
            raise smtplib.SMTPDataError(code, text)

    def send_message_text(self, message: bytes) -> None:
        """Send a message and its end."""
        self.send(_DOTS.sub(b"..", message) + b".\r\n")

    def wait_anew(self, seconds: float) -> None:
        """Wait so many seconds from now."""
        self._deadline.begin_anew(seconds)
        if self.sock is not None:
            self.sock.settimeout(self._deadline.seconds_left())

    def leave(self) -> None:
        """Say good-bye. Nothing depends on the response."""
        if self.sock is not None:
            self.sock.settimeout(_QUIT_SECONDS)
        self.quit()


class _Bounded:
    """What a server says, up to a limit. Then it is an error."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, _MAX_REPLY_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise OSError(f"it said more than {_MAX_REPLY_BYTES:,} bytes")
        return line

    def close(self) -> None:
        self._file.close()


def _reply_text(reply: tuple[int, bytes]) -> str:
    text = " ".join(reply[1].decode("utf-8", "replace").split())
    return printable(f"{reply[0]} {text}".strip()[:_EXCERPT])
